# Reads the output of scripts/kernels/run-tests on kernel `name`, which took `seconds`, and prints the
# counts of tests, why which was skipped, and all that failed or unfinished ones said. Exits 1 unless a
# test passed, every binary succeeded and the end was reached.

# What a test says comes after its name; what is said outside of tests has the name "".
/^=== (RUN|PAUSE|CONT|NAME) / {
	test = $3
	if ($2 == "RUN")
		begun = test
	next
}
match($0, /--- (PASS|FAIL|SKIP): [^ ]+/) {
	verdict = substr($0, RSTART + 4, 4)
	test = substr($0, RSTART + 10, RLENGTH - 10)
	if (test !~ /\//)
		of_binary[verdict]++
	if (verdict == "SKIP")
		skips = skips "  skip " test ": " last[test] "\n"
	if (verdict == "FAIL")
		say(test, $0)
	else
		said[test] = ""
	test = ""
	next
}
/^@@ kernel / { release = $3; next }
/^@@ ledger / { next }
/^@@ end/ { ended = 1; next }
# What failed is run once more: the second time counts, the first is told of.
/^@@ again / {
	gsub(/\|$/, "", $3)
	gsub(/\|/, ", ", $3)
	agains = agains "  failed, and ran again: " substr($0, index($0, $3)) "\n"
	of_binary["FAIL"] = 0
	flush()
	next
}
/^@@ exit / {
	flush()
	for (verdict in of_binary)
		count[verdict] += of_binary[verdict]
	split("", of_binary)
	if ($3 != 0) {
		broken = 1
		failures = failures "  " $4 ": exit status " $3 "\n"
	}
	next
}
/^(PASS)?$/ { next }
{ say(test, $0) }

END {
	flush()
	printf "%-12s %-28s %3d pass %3d fail %3d skip %4d s\n",
		name, release, count["PASS"], count["FAIL"], count["SKIP"], seconds
	printf "%s%s%s", skips, agains, failures
	if (!ended)
		print "  ended too early; the last test begun is " (begun ? begun : "none")
	else if (!count["PASS"])
		print "  no test ran"
	exit broken || !ended || !count["PASS"]
}

function say(test, line) {
	if (!(test in said))
		order[++tests] = test
	said[test] = said[test] "  | " line "\n"
	sub(/^ *[^ ]+\.go:[0-9]+: /, "", line)
	last[test] = line
}

# flush ends a binary: its tests have no more to say.
function flush(   i) {
	for (i = 1; i <= tests; i++)
		failures = failures said[order[i]]
	tests = 0
	split("", said)
	split("", last)
	test = ""
}
