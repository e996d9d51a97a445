#!/bin/sh
# Stands in for `segsh segment --datadir DIR` and `segsh coordinator --dir DIR` where a test is about
# processes and not about what they serve: it takes the directory's lock, says `ready`, and stays.
# `host` and `demo-keeper` are the real ones.
case "$1" in
segment) dir="$3" ;;
coordinator) dir="$3/coordinator" ;;
*) exec "$SEGSH_TEST_BINARY" "$@" ;;
esac
exec 9<>"$dir/lock" || exit 1
flock -n 9 || { echo "$dir is in use"; exit 1; }
echo "$$ $(cut -d' ' -f22 /proc/$$/stat)" > "$dir/lock"
if [ -e "$dir/fail" ]; then
    echo "the test said: fail" >&2
    exit 1
fi
echo ready
exec sleep 100000 >&- 2>&-
