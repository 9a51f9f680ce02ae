"""An account that does all that the templates name, and time that passes quickly in it."""

from __future__ import annotations

from trainyard.clock import SystemClock
from trainyard.testing.emulator import AwsEmulator


class WholeEmulator(AwsEmulator):
    """ministack with all that the templates name."""

    services = "s3,sqs,ec2,cloudformation,events,iam,logs,lambda,ssm,sns,cloudwatch,rds,ecr,secretsmanager,sts,budgets"


class QuickClock(SystemClock):
    """The emulator is done at once, so nobody waits long."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.05))
