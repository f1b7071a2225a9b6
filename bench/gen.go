package main

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -no-global-types -type lt_config -type lt_key -type lt_slot reference reference.bpf.c -- -I.. -I../bpf -mcpu=v3 -Wall -Werror
