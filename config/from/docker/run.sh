#!/bin/sh
# Published ports lead to one container each, and are gone while it is made anew.
docker run --detach --name web --publish 127.0.0.1:8080:80 nginx
docker run --detach --name dns --publish 127.0.0.1:5353:53/udp --publish 127.0.0.1:5353:53/tcp coredns/coredns
