#!/bin/bash
sorted() {
    printf '%s\n' "$@" | sort -n | tr '\n' ' '
}

set -e
[[ $(sorted 10 9 1) = "1 9 10 " ]]
