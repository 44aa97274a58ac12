/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon itself knows to be wrong; tests/e2e/test_doctor.py has what
 * is made of it
 */
#include "daemon/doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/daemon.h"
#include "talk.h"

static struct stage *st;
static struct daemon d;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	d = (struct daemon){ .alg = st->alg,
			     .conf = &st->conf,
			     .conf_path = "x.conf" };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

/* The finding of that code, a new reference; NULL if there is none */
static json_t *finding(const char *code)
{
	json_t *answer = doctor_answer(&d, NULL), *row, *found = NULL;
	size_t i;

	assert_non_null(answer);
	json_array_foreach(json_object_get(answer, "doctor"), i, row)
	{
		if (!strcmp(code,
			    json_string_value(json_object_get(row, "code"))))
			found = json_incref(row);
	}
	json_decref(answer);
	return found;
}

static struct ports ports(uint16_t first, uint16_t last)
{
	return (struct ports){ .count = 1, .range = { { first, last } } };
}

/* Two phones, and a port for one */
static void exhaust(uint16_t rtp_first)
{
	st->conf.sip.signalling_ports = ports(5060, 5060);
	st->conf.media.rtp_ports = ports(rtp_first, 20000);
	alg_configure(st->alg, &st->conf);
	assert_null(finding("ports_exhausted"));
	talk_register(st, PHONE, PUBLIC, 600);
	out(st, .phone = "192.168.1.11:5060", .method = "REGISTER",
	    .remote_tag = "", .call_id = "other");
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 1);
}

static void test_ports_that_can_be_more(void **state)
{
	const char *value;
	json_t *found;

	(void)state;
	exhaust(16384);
	found = finding("ports_exhausted");
	assert_non_null(found);
	value = json_string_value(json_object_get(json_object_get(found, "set"),
						  "sip.signalling_ports"));
	assert_string_equal(value, "5060-5061");
	json_decref(found);
}

/* What is proposed would be loaded: it ends before a port of sip.ports */
static void test_media_ports(void **state)
{
	const char *value;
	json_t *found;

	(void)state;
	st->conf.sip.ports = ports(20005, 20005);
	st->conf.media.rtp_ports = ports(16384, 20000);
	alg_configure(st->alg, &st->conf);
	counter_add(&st->alg->counters, COUNTER_media_exhausted);
	found = finding("ports_exhausted");
	assert_non_null(found);
	value = json_string_value(json_object_get(json_object_get(found, "set"),
						  "media.rtp_ports"));
	assert_string_equal(value, "16384-20004");
	json_decref(found);
}

/* No longer range can be proposed: it is wrong all the same */
static void test_ports_that_cannot(void **state)
{
	json_t *found;

	(void)state;
	exhaust(5061);
	found = finding("ports_exhausted");
	assert_non_null(found);
	assert_null(json_object_get(found, "set"));
	assert_non_null(
		strstr(json_string_value(json_object_get(found, "advice")),
		       "sip.signalling_ports"));
	assert_non_null(json_object_get(found, "command"));
	json_decref(found);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_ports_that_can_be_more),
		TEST(test_media_ports),
		TEST(test_ports_that_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
