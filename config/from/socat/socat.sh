#!/bin/sh
# One process for each port.
socat TCP-LISTEN:8080,bind=127.0.0.1,reuseaddr,fork,range=127.0.0.0/24 TCP:127.0.0.1:9001,connect-timeout=2 &
socat UDP-LISTEN:5353,bind=127.0.0.1,reuseaddr,fork UDP:127.0.0.1:5354 &
wait
