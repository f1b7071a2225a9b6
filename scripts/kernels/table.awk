# Reads scripts/kernels/features and then outputs of scripts/kernels/run-tests, a file a kernel, and prints
# which feature was seen to work on which kernel, as a table in Markdown: "yes" if every test of it that ran
# passed, "no" if one failed, "-" if the kernel cannot do it and all were skipped. The last row counts tests.
/^#/ && NR == FNR { next }
NR == FNR {
	split($0, part, / \| /)
	feature[++features] = part[1]
	pattern[features] = part[2]
	next
}
FNR == 1 { kernels++ }
/^@@ kernel / { release[kernels] = $3; sub(/\r$/, "", release[kernels]) }
match($0, /--- (PASS|FAIL|SKIP): [^ ]+/) {
	verdict[substr($0, RSTART + 10, RLENGTH - 10)] = substr($0, RSTART + 4, 4)
}
/^@@ exit / {
	package = $4
	sub(/\r$/, "", package)
	# One with parts passes even if they were all skipped.
	for (test in verdict)
		while (match(test, /.*\//)) {
			test = substr(test, 1, RLENGTH - 1)
			whole[test]
		}
	for (test in verdict) {
		if (test !~ /\//)
			total[kernels, verdict[test]]++
		if (test in whole)
			continue
		for (i = 1; i <= features; i++)
			if (package " " test ~ pattern[i])
				count[i, kernels, verdict[test]]++
	}
	split("", verdict)
	split("", whole)
}
END {
	line = "|"
	rule = "| ---"
	for (k = 1; k <= kernels; k++) {
		line = line " | " release[k]
		rule = rule " | ---"
	}
	print line " |"
	print rule " |"
	for (i = 1; i <= features; i++) {
		line = "| " feature[i]
		for (k = 1; k <= kernels; k++)
			line = line " | " (count[i, k, "FAIL"] ? "no" : count[i, k, "PASS"] ? "yes" : "-")
		print line " |"
	}
	line = "| tests: passed, failed, skipped"
	for (k = 1; k <= kernels; k++)
		line = line sprintf(" | %d, %d, %d", total[k, "PASS"], total[k, "FAIL"], total[k, "SKIP"])
	print line " |"
}
