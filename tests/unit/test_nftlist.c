/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules as "nft -a list ruleset" prints them */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/nftlist.h"

static const char listed[] =
	"# Warning: table ip raw is managed by iptables-nft, do not touch!\n"
	"table inet fw4 { # handle 1\n"
	"\tct helper phone { # handle 9\n"
	"\t\ttype \"sip\" protocol udp\n"
	"\t\tl3proto inet\n"
	"\t}\n"
	"\n"
	"\tset s { # handle 4\n"
	"\t\ttype ipv4_addr\n"
	"\t\telements = { 10.0.0.1,\n"
	"\t\t\t     10.0.0.3 }\n"
	"\t}\n"
	"\n"
	"\tchain forward { # handle 3\n"
	"\t\ttype filter hook forward priority filter; policy drop;\n"
	"\t\tudp dport { 5060, 5080-5090 } ct helper set \"phone\" # handle "
	"24\n"
	"\t\tudp sport 53 comment \"a # handle 7\" # handle 25\n"
	"\t\ttcp dport 21 ct helper set \"ftp\" # handle 26\n"
	"\t\tudp dport != 5060 notrack # handle 27\n"
	"\t\tudp dport @s notrack # handle 28\n"
	"\t}\n"
	"}\n"
	"table ip other { # handle 2\n"
	"\tchain forward { # handle 1\n"
	"\t\tct helper set \"phone\" # handle 5\n"
	"\t}\n"
	"}\n";

static void test_list(void **state)
{
	struct nftlist list;
	struct ports ports;

	(void)state;
	assert_int_equal(nftlist_read(&list, listed), 0);
	assert_int_equal(list.rules, 6);
	assert_string_equal(list.rule[0].family, "inet");
	assert_string_equal(list.rule[0].table, "fw4");
	assert_string_equal(list.rule[0].chain, "forward");
	assert_int_equal(list.rule[0].handle, 24);
	assert_int_equal(list.rule[1].handle, 25);
	assert_string_equal(list.rule[1].text,
			    "udp sport 53 comment \"a # handle 7\"");
	assert_string_equal(list.rule[5].table, "other");

	assert_true(nftrule_helper(&list, &list.rule[0]));
	assert_false(nftrule_helper(&list, &list.rule[2]));
	/* Of that name in another table */
	assert_false(nftrule_helper(&list, &list.rule[5]));

	assert_true(nftrule_ports(&list.rule[0], "dport", &ports));
	assert_true(ports_contain(&ports, 5060));
	assert_true(ports_contain(&ports, 5085));
	assert_false(ports_contain(&ports, 5070));
	assert_false(nftrule_ports(&list.rule[0], "sport", &ports));
	assert_true(nftrule_ports(&list.rule[1], "sport", &ports));
	assert_int_equal(ports_count(&ports), 1);
	for (int i = 3; i < 5; i++) { /* it says, but not what */
		assert_true(nftrule_ports(&list.rule[i], "dport", &ports));
		assert_int_equal(ports.count, 0);
	}
	assert_true(nftrule_has(&list.rule[3], "notrack"));
	assert_false(nftrule_has(&list.rule[3], "track"));
	nftlist_free(&list);
}

static void test_garbage(void **state)
{
	static const char *const texts[] = {
		"",
		"}",
		"}\n}\n}",
		"{",
		"{\n{\n{",
		"table {",
		"# handle ",
		"\n\n",
		"table inet x {\nchain {\n",
		"table inet x {\nchain c {\n# handle 3",
		"table inet x {\nchain c {\nudp dport # handle 3",
		"table inet x {\nchain c {\nudp dport { # handle 3",
		"table inet x {\nchain c {\nct helper set \" # handle 3",
	};
	struct nftlist list;
	struct ports ports;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(nftlist_read(&list, texts[i]), 0);
		for (size_t k = 0; k < list.rules; k++) {
			nftrule_ports(&list.rule[k], "dport", &ports);
			nftrule_helper(&list, &list.rule[k]);
		}
		nftlist_free(&list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
