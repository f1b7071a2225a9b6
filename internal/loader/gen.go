package loader

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -no-global-types -type lt_config -type lt_filter -type lt_filter_term -type lt_key -type lt_dir -type lt_unlocked -type lt_slot -type lt_owner -type lt_life -type lt_count -type lt_counts -type lt_pool -type lt_pools -type lt_exchange -type lt_latency -type lt_health -type lt_drop -type lt_breakdown -type lt_sample_counts -type lt_sample -type lt_slow -type lt_listener -type lt_queue -type lt_holder lotrace ../../bpf/lotrace.bpf.c -- -I../.. -mcpu=v3 -Wall -Werror
