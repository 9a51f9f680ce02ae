"""The same routes as a configuration of nginx, which is the router among containers (pure)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from trainyard.errors import ServiceError
from trainyard_embedded.router.proxy import MOST_HEAD_BYTES, MOST_URL_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard_embedded.router.routes import Pattern, Routes

_AWAY = ServiceError("unavailable", "the service does not answer just now; repeat with the same Idempotency-Key")
_TOO_LONG = ServiceError("uri_too_long", f"the path and query are longer than {MOST_URL_BYTES} bytes")
_TEMPLATE = """\
# Generated from routes.toml by `make docs`. For nginx as an ordinary user on a read-only file system with /tmp.
worker_processes 2;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    server_tokens off;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    # Docker's name server: a container that comes back may have another address.
    resolver 127.0.0.11 valid=1s ipv6=off;
    merge_slashes off;
    client_header_buffer_size {url_bytes};
    large_client_header_buffers 4 {head_bytes};
    client_max_body_size 0;
    proxy_http_version 1.1;
    # Bodies and event streams pass as they come.
    proxy_request_buffering off;
    proxy_buffering off;
    # The headers of an answer may repeat what was asked.
    proxy_buffer_size {head_bytes};
    proxy_buffers 8 {head_bytes};
    proxy_connect_timeout 2s;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;

    map $uri $by_path {{
        default {default};
{patterns}
    }}
    # Dots would be resolved by somebody behind us: such a path is nobody's.
    map $request_uri $service {{
        default $by_path;
        "~^[^?]*/(\\.|%2[eE]){{1,2}}([/?]|$)" {default};
    }}
    map $service $address {{
{addresses}
    }}
    map $operated $operated_address {{
        default "";
{addresses}
    }}

    server {{
        listen 8080;
        # By a path: a request whose line was not read to its end has none, and nginx sends it to no named place.
        error_page 414 /-/too_long;
        error_page 502 504 =503 @away;

        location / {{
            if ($request_uri ~ "^.{{{too_many_bytes}}}") {{
                return 414;
            }}
            proxy_pass http://$address;
        }}
        location ~ ^/-/(?<operated>{services})/(?<operation>{operations})$ {{
            proxy_pass http://$operated_address/$operation$is_args$args;
        }}
        # Of the router itself, which needs nobody.
        location ~ ^/(healthz|readyz)$ {{
            default_type application/json;
            return 200 '{{"status": "ok"}}';
        }}
        location @away {{
            default_type application/json;
            add_header Retry-After 1 always;
            return 503 '{away}';
        }}
        location = /-/too_long {{
            internal;
            default_type application/json;
            return 414 '{too_long}';
        }}
    }}
}}
"""


def render(routes: Routes, addresses: Mapping[str, str]) -> str:
    """Return the configuration. ``addresses`` gives each service's ``host:port``."""
    return _TEMPLATE.format(
        default=routes.default,
        patterns="\n".join(f'        "~{_regex(pattern)}" {pattern.service};' for pattern in routes.patterns),
        addresses="\n".join(f"        {service} {addresses[service]};" for service in routes.services),
        services="|".join(routes.services),
        operations="|".join(re.escape(operation) for operation in sorted(routes.operations)),
        url_bytes=MOST_URL_BYTES,
        too_many_bytes=MOST_URL_BYTES + 1,
        head_bytes=MOST_HEAD_BYTES,
        away=json.dumps(_AWAY.as_dict()),
        too_long=json.dumps(_TOO_LONG.as_dict()),
    )


def _regex(pattern: Pattern) -> str:
    parts = ["[^/]+" if segment.startswith("{") else re.escape(segment) for segment in pattern.segments]
    return f"^/{'/'.join(parts)}(/|$)"
