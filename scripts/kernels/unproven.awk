# Reads outputs of scripts/kernels/run-tests and prints what ran nowhere and so proves nothing: tests that
# every kernel skipped, and requirements that no kernel met. The second says more than the first: a test
# may have asked before a part of it. Not asked for here, but by "make test", are tests of the source tree, of
# the time, long ones and those that no kernel has a part in. A ledger line is "run|skip TEST NEED KERNEL".
match($0, /=== (RUN|NAME|CONT) +[^ ]+/) { running = substr($0, RSTART, RLENGTH); sub(/.* /, "", running) }
/(not in the source tree|takes a minute|keeps no time|the same on every kernel)\r?$/ { excused[running] }
match($0, /--- (PASS|FAIL|SKIP): [^ ]+/) {
	verdict[substr($0, RSTART + 10, RLENGTH - 10)] = substr($0, RSTART + 4, 4)
}
/^@@ exit / {
	package = $4
	for (test in verdict)
		note(verdict[test] != "SKIP", package " " test)
	for (test in excused)
		not_asked[package " " test]
	split("", verdict)
	split("", excused)
}
/^@@ ledger / { note($3 == "run", package " " $4 " needs " $5) }
END {
	for (what in unmet)
		if (!(what in met) && !(what in not_asked))
			print "  " what
}

function note(ran, what) {
	if (ran)
		met[what]
	else
		unmet[what]
}
