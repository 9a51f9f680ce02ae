"""Settings are read once and refuse what they cannot read."""

from dataclasses import fields

import pytest

from trainyard import config
from trainyard.errors import ConfigError


def test_every_setting_has_a_default():
    """An empty environment is a whole configuration."""
    assert config.load({}).bucket == "trainyard"


def test_settings_and_fields_are_the_same():
    """No setting without a field, no field without a setting."""
    assert [s.field for s in config.SETTINGS] == [f.name for f in fields(config.Config)]


def test_a_value_that_cannot_be_read_names_its_variable():
    """The operator sees which variable is wrong and what it takes."""
    with pytest.raises(ConfigError, match=r"^TRAINYARD_ROUTER_PORT='http' cannot be read: expected a whole number"):
        config.load({"TRAINYARD_ROUTER_PORT": "http"})


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FLEET_MAX_USD_PER_DAY", "banana", "a number, 0 or more"),
        ("FLEET_MAX_USD_PER_DAY", "-1", "a number, 0 or more"),
        ("FLEET_MAX", "1.5", "a whole number, 0 or more"),
        ("LEASE_SECONDS", "0", "a whole number, 1 or more"),
        ("POLICY_TICK_SECONDS", "inf", "a number of seconds, more than 0"),
        ("BEAT_SECONDS", "soon", "a number of seconds, more than 0, or nothing"),
        ("KEEP_EVENTS_DAYS", "0", "a number of days, more than 0, at most 36,500"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("SPOT", "maybe", "one of 1, true, yes, 0, false, no"),
        ("INSTANCE_TYPES", ",", "one word or more, between spaces or commas"),
    ],
)
def test_what_is_expected_is_said(variable, value, expected):
    """A refusal says what would be read instead, not what the setting is for."""
    with pytest.raises(ConfigError) as caught:
        config.load({f"TRAINYARD_{variable}": value})
    assert str(caught.value) == f"TRAINYARD_{variable}={value!r} cannot be read: expected {expected}"


def test_a_missing_database_is_one_sentence():
    """Services that need the database say which variable to set."""
    with pytest.raises(ConfigError, match="TRAINYARD_DATABASE_URL is not set"):
        config.load({}).require_database()


def test_passwords_are_not_shown():
    """A URL in a log line carries no password."""
    assert config.redact_url("postgresql://u:secret@h:5/d") == "postgresql://u:***@h:5/d"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRAINYARD_LOG_LEVEL", "loud"),
        ("TRAINYARD_DATABASE_URL", "garbage"),
        ("TRAINYARD_DATABASE_URL", "postgresql://u:secret@h:port/d"),
        ("TRAINYARD_ROUTER_PORT", "65536"),
        ("TRAINYARD_POLICY_TICK_SECONDS", "0"),
        ("TRAINYARD_RESEND_SECONDS", "nan"),
        ("TRAINYARD_LEASE_SECONDS", "0"),
        ("TRAINYARD_FLEET_MAX", "-1"),
        ("TRAINYARD_INSTANCE_TYPES", " , "),
    ],
)
def test_values_that_would_do_harm_later_are_refused_at_start(variable, value):
    """A level that logging does not know, a pause of nothing, an address that is none: one sentence, no secret."""
    with pytest.raises(ConfigError, match=variable) as caught:
        config.load({variable: value})
    assert "secret" not in str(caught.value).replace("<secret>", "")


def test_a_plain_address_of_postgres_means_our_driver():
    """What psql and RDS show can be pasted."""
    for rest in ("://u:p%40@h:5/d?sslmode=require", ":///d?host=/var/run/postgresql"):
        loaded = config.load({"TRAINYARD_DATABASE_URL": f"postgresql{rest}"})
        assert loaded.database_url == f"postgresql+psycopg2{rest}"


def test_the_first_resend_follows_the_lease():
    """Unset it is two leases, so that a message is not sent again while its first reader may still work."""
    assert config.load({}).first_resend_seconds == 120.0
    assert config.load({"TRAINYARD_LEASE_SECONDS": "300"}).first_resend_seconds == 600.0
    given = {"TRAINYARD_LEASE_SECONDS": "300", "TRAINYARD_RESEND_SECONDS": "7.5"}
    assert config.load(given).first_resend_seconds == 7.5
