/* Not a function: said(int a, int b, int c, int d, int e, int f); */
#define LT_MACRO(a, b, c, d, e, f) \
	not_either(a, b, c, d, e, f); \
	{

struct lt_ops {
	int (*member)(int a, int b, int c, int d, int e, int f);
};

static __always_inline int lt_many(struct a *a, int b, const char *c, __u64 d,
				   int (*e)(int, int), int f)
{
	if (calls(a, b, c, d, e, f))
		return "}{;"[0] == '{';
	for (int i = 0; i < 2; i++) {
		b++;
	}
	return 0;
}

int lt_declared(int a, int b, int c, int d, int e, int f, int g);

// lt_commented(int a, int b, int c, int d, int e, int f)
static int lt_five(int a, int b, int c, int d, void (*e)(int, int))
{
	return 0;
}

static const char lt_url[] = "http://room{";

static int lt_behind(int a, int b, int c, int d, int e, int f)
{
	return '/' + '*' + 0 * '*' + '/';
}

static int lt_none(void) { return 0; }

SEC("tp_btf/some") int BPF_PROG(lt_program, int a, int b, int c, int d, int e, int f)
{
	return 0;
}
