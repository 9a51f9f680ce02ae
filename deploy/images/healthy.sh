#!/bin/bash
# Whether a service of this container answers 200: healthy PORT [PATH]. In bash, as it runs every few seconds and an
# interpreter would take a hundred times as long to start.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${2:-/readyz}" >&3
# Patiently: a server that is about to work has its port already, and answers the moment it does.
read -r -t 6 _ status _ <&3
read -r -t 3 -d '' _ <&3 # to the end: a server may complain about who leaves before
[ "$status" = 200 ]
