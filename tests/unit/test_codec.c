/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guard.h"
#include "sip/codec.h"

#define HEAD "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"

static const struct {
	const char *sdp, *names;
} cases[] = {
	{ HEAD "m=audio 4000 RTP/AVP 8 0 101\r\n"
	       "a=rtpmap:101 telephone-event/8000\r\n",
	  "PCMA,PCMU,telephone-event" },
	/* what the other side names counts, also for a number that is known */
	{ HEAD "m=audio 4000 RTP/AVP 96 9\r\na=rtpmap:9 G722/8000\r\n"
	       "a=rtpmap:96 opus/48000/2\r\n",
	  "opus,G722" },
	{ HEAD "m=audio 4000 RTP/AVP 96 120\r\na=rtpmap:96 speex/8000\r\n",
	  "speex,120" },
	/* each m= line has its own types, one with port 0 is refused */
	{ HEAD "m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 iLBC/8000\r\n"
	       "m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n",
	  "iLBC,H264" },
	{ HEAD "m=audio 4000 RTP/AVP 97\r\n"
	       "m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n",
	  "97,H264" },
	{ HEAD "m=audio 0 RTP/AVP 0\r\nm=image 4000 udptl t38\r\n", "t38" },
	{ HEAD "m=audio 4000/2 RTP/AVP 0  8\n", "PCMU,PCMA" },
	{ HEAD, "" },
	{ HEAD "m=audio 4000", "" },
	{ HEAD "m=", "" },
	{ HEAD "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96", "96" },
	{ HEAD "m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 /8000\r\n", "96" },
	{ "", "" },
};

static void test_names(void **state)
{
	char buf[CODEC_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].sdp);
		struct span sdp = { guard_place(0, cases[i].sdp, len), len };

		assert_string_equal(codec_names(sdp, buf, sizeof(buf)),
				    cases[i].names);
	}
}

/* What does not fit is left out, never cut in two */
static void test_room(void **state)
{
	struct span sdp = SPAN(HEAD "m=audio 4000 RTP/AVP 8 0 3\r\n");
	char *buf;

	(void)state;
	for (size_t cap = 1; cap < 20; cap++) {
		char bytes[20] = { 0 };

		/* against a guard page: no byte behind @cap is touched */
		buf = guard_place(1, bytes, cap);
		codec_names(sdp, buf, cap);
		assert_string_equal(buf, cap >= 14   ? "PCMA,PCMU,GSM"
					 : cap >= 10 ? "PCMA,PCMU"
					 : cap >= 9  ? "PCMA,GSM"
					 : cap >= 6  ? "PCMA"
					 : cap >= 5  ? "GSM"
						     : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
