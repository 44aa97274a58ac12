#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sipalg-replay on captures of every link type, as its manual says.
set -u

command -v python3 >/dev/null || { echo "SKIP: needs python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec python3 - "${SIPALG_BUILD_DIR:?}/sipalg-replay" "$work" <<'PYTHON'
import json, socket, struct, subprocess, sys

REPLAY, WORK = sys.argv[1:]
PHONE, SERVER, PUBLIC = "192.168.1.10", "198.51.100.5", "203.0.113.1"
CONF = f"{WORK}/conf"


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo(src, dst, proto, length):
    return socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack(
        "!BBH", 0, proto, length)


def ip(src, dst, proto, payload, flags=0):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, flags,
                       64, proto, 0, socket.inet_aton(src),
                       socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def udp(src, sport, dst, dport, payload, summed=True):
    data = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = checksum(pseudo(src, dst, 17, len(data)) + data) or 0xffff
    if summed:
        data = data[:6] + struct.pack("!H", total) + data[8:]
    return ip(src, dst, 17, data)


def tcp(src, sport, dst, dport, payload):
    data = struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, 0x10, 9, 0, 0)
    data += payload
    total = checksum(pseudo(src, dst, 6, len(data)) + data)
    return ip(src, dst, 6, data[:16] + struct.pack("!H", total) + data[18:])


def sums_ok(packet):
    src, dst = (socket.inet_ntoa(packet[i:i + 4]) for i in (12, 16))
    length = struct.unpack("!H", packet[2:4])[0]
    assert checksum(packet[:20]) == 0
    body = packet[20:length]
    if packet[9] == 17 and body[6:8] == b"\0\0":
        return
    assert checksum(pseudo(src, dst, packet[9], len(body)) + body) == 0


def ends(packet):
    src, dst = (socket.inet_ntoa(packet[i:i + 4]) for i in (12, 16))
    sport, dport = struct.unpack("!HH", packet[20:24])
    return (src, sport), (dst, dport)


def write(name, link, frames, cut=None):
    with open(f"{WORK}/{name}", "wb") as out:
        out.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link))
        for i, frame in enumerate(frames):
            kept = frame[:cut] if cut else frame
            out.write(struct.pack("=IIII", 1000 + i, 5, len(kept),
                                  len(frame)) + kept)
    return f"{WORK}/{name}"


def write_ng(name, link, frames):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack("=I", 12 + len(body))
        return struct.pack("=I", kind) + size + body + size
    with open(f"{WORK}/{name}", "wb") as out:
        out.write(block(0x0a0d0d0a, struct.pack("=IHHq", 0x1a2b3c4d, 1, 0, -1)))
        out.write(block(1, struct.pack("=HHI", link, 0, 65535)))
        for i, frame in enumerate(frames):
            stamp = (1000 + i) * 1000000
            out.write(block(6, struct.pack("=IIIII", 0, stamp >> 32,
                                           stamp & 0xffffffff, len(frame),
                                           len(frame)) + frame))
    return f"{WORK}/{name}"


def read(name):
    data = open(f"{WORK}/{name}", "rb").read()
    assert data[:4] == struct.pack("=I", 0xa1b2c3d4)
    link, at, frames = struct.unpack("=I", data[20:24])[0], 24, []
    while at < len(data):
        _, _, kept, full = struct.unpack("=IIII", data[at:at + 16])
        frames.append(data[at + 16:at + 16 + kept])
        at += 16 + kept
    return link, frames


def run(*args):
    return subprocess.run([REPLAY, *args], capture_output=True, text=True)


def replay(source, *args):
    done = run("-c", CONF, "--json", *args, source, f"{WORK}/out")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    for line in lines:
        assert set(line) == {"n", "action", "reason", "edits"}
    return lines, *read("out")


def sip(text):
    return text.replace("\n", "\r\n").encode()


REGISTER = sip(f"""REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP {PHONE}:5060;branch=z9hG4bK1
From: <sip:a@example.com>;tag=1
To: <sip:a@example.com>
Call-ID: x
CSeq: 1 REGISTER
Contact: <sip:a@{PHONE}:5060>
Content-Length: 0

""")
REGISTERED = sip(f"""SIP/2.0 200 OK
Via: SIP/2.0/UDP {PUBLIC}:5060;branch=z9hG4bK1
From: <sip:a@example.com>;tag=1
To: <sip:a@example.com>;tag=2
Call-ID: x
CSeq: 1 REGISTER
Contact: <sip:a@{PUBLIC}:5060>;expires=60
Content-Length: 0

""")
EXCHANGE = [udp(PHONE, 5060, SERVER, 5060, REGISTER),
            udp(SERVER, 5060, PUBLIC, 5060, REGISTERED)]


def sdp(address, port):
    return (f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\n"
            f"t=0 0\r\nm=audio {port} RTP/AVP 0\r\n")


def with_body(head, body):
    return sip(head) + sip(f"Content-Type: application/sdp\n"
                           f"Content-Length: {len(body)}\n\n") + body.encode()


def check_exchange(lines, frames, before=0):
    packets = [frame[before:] for frame in frames]
    assert [line["action"] for line in lines] == ["rewritten"] * 2
    assert [line["reason"] for line in lines] == ["rewritten"] * 2
    assert {"site": "Contact", "old": f"{PHONE}:5060",
            "new": f"{PUBLIC}:5060"} in lines[0]["edits"]
    for packet in packets:
        sums_ok(packet)
    assert ends(packets[0]) == ((PUBLIC, 5060), (SERVER, 5060))
    assert ends(packets[1]) == ((SERVER, 5060), (PHONE, 5060))
    assert packets[0][28:] == REGISTER.replace(PHONE.encode(), PUBLIC.encode())
    assert packets[1][28:] == REGISTERED.replace(PUBLIC.encode(),
                                                 PHONE.encode())


def test_link_types():
    ether, tag = b"\2" * 12, b"\x81\0\0\5"
    service = b"\x88\xa8\0\6"
    links = {
        (1, "ethernet"): ether + b"\x08\0",
        (1, "vlan"): ether + tag + b"\x08\0",
        (1, "double"): ether + service + tag + b"\x08\0",
        (113, "cooked"): b"\0" * 14 + b"\x08\0",
        (113, "cooked vlan"): b"\0" * 14 + tag + b"\x08\0",
        (276, "cooked2"): b"\x08\0" + b"\0" * 18,
        (101, "raw"): b"",
        (228, "ipv4"): b"",
    }
    for (link, name), head in links.items():
        frames = [head + packet for packet in EXCHANGE]
        for make in (write, write_ng):
            lines, out_link, out = replay(make("in", link, frames))
            assert out_link == (101 if link == 12 else link), name
            assert all(frame.startswith(head) for frame in out)
            check_exchange(lines, out, len(head))


def test_padding():
    """What Ethernet pads is no payload, and stays where nothing grows."""
    head = b"\2" * 12 + b"\x08\0"
    frame = head + udp(PHONE, 7, SERVER, 7, b"x") + b"PAD"
    lines, _, out = replay(write("in", 1, [frame]))
    assert lines[0]["action"] == "untouched" and out[0].endswith(b"xPAD")
    assert len(out[0]) == len(frame)
    sums_ok(out[0][14:-3])


def test_others_are_copied():
    head = b"\2" * 12
    arp, short, runt = head + b"\x08\x06" + b"a" * 28, b"\1\2\3", b""
    frames = [arp, short, head + b"\x86\xdd" + b"\x60", head + b"\x08\0"]
    lines, _, out = replay(write("in", 1, frames))
    assert out == frames
    assert {line["action"] for line in lines} == {"untouched"}
    icmp = ip(PHONE, SERVER, 1, b"\x08\0\0\0\0\0\0\0")
    fragment = ip(PHONE, SERVER, 17, b"x" * 16, flags=0x2000)
    outside = udp(SERVER, 5060, "198.51.100.6", 5060, REGISTER)
    inside = udp(PHONE, 5060, "192.168.1.11", 5060, REGISTER)
    frames = [icmp, fragment, outside, inside]
    lines, _, out = replay(write("in", 101, frames))
    assert out == frames
    assert [line["reason"] for line in lines] == ["other_protocol"] * 2 + [
        "not_for_us"] * 2


def test_cut_short():
    frames = [EXCHANGE[0]]
    lines, _, out = replay(write("in", 101, frames, cut=60))
    assert out == [EXCHANGE[0][:60]]
    assert lines[0]["action"] == "untouched"
    assert lines[0]["reason"] == "bad_packet" and lines[0]["edits"] == []


def test_masquerade():
    """Other flows are translated too, both ways; TCP as UDP."""
    frames = [tcp(PHONE, 40000, SERVER, 443, b"hello"),
              tcp(SERVER, 443, PUBLIC, 40000, b"world"),
              udp(PHONE, 53, SERVER, 53, b"?", summed=False),
              udp("192.168.1.11", 53, SERVER, 53, b"?"),
              udp(SERVER, 53, PUBLIC, 53, b"!"),
              udp(SERVER, 54, PUBLIC, 53, b"!")]
    lines, _, out = replay(write("in", 101, frames))
    for packet in out:
        sums_ok(packet)
    assert ends(out[0]) == ((PUBLIC, 40000), (SERVER, 443))
    assert ends(out[1]) == ((SERVER, 443), (PHONE, 40000))
    assert ends(out[2]) == ((PUBLIC, 53), (SERVER, 53))
    assert out[2][26:28] == b"\0\0"
    taken = ends(out[3])
    assert taken[0][0] == PUBLIC and taken[0][1] != 53
    assert ends(out[4]) == ((SERVER, 53), (PHONE, 53))
    assert out[5] == frames[5]
    assert {line["action"] for line in lines} == {"untouched"}


def test_media():
    """RTP goes by what the call announced, in both directions."""
    head = (f"Via: SIP/2.0/UDP %s:5060;branch=z9hG4bKi\nFrom: <sip:a@x>;tag=1\n"
            f"To: <sip:b@x>%s\nCall-ID: y\nCSeq: 1 INVITE\n")
    invite = with_body("INVITE sip:b@x SIP/2.0\n" + head % (PHONE, ""),
                       sdp(PHONE, 4000))
    answer = with_body("SIP/2.0 200 OK\n" + head % (PUBLIC, ";tag=2"),
                       sdp("198.51.100.9", 6000))
    first = [udp(PHONE, 5060, SERVER, 5060, invite)]
    _, _, out = replay(write("in", 101, first))
    line = [x for x in out[0].split(b"\r\n") if x.startswith(b"m=")][0]
    port = int(line.split()[1])
    assert 16384 <= port <= 32767 and port % 2 == 0
    frames = first + [udp(SERVER, 5060, PUBLIC, 5060, answer),
                      udp(PHONE, 4000, "198.51.100.9", 6000, b"rtp"),
                      udp("198.51.100.9", 6000, PUBLIC, port, b"rtp"),
                      udp("198.51.100.9", 6001, PUBLIC, port + 1, b"rtcp"),
                      udp("198.51.100.66", 6000, PUBLIC, port, b"rtp")]
    lines, _, out = replay(write("in", 101, frames))
    for packet in out:
        sums_ok(packet)
    assert ends(out[2]) == ((PUBLIC, port), ("198.51.100.9", 6000))
    assert ends(out[3]) == (("198.51.100.9", 6000), (PHONE, 4000))
    assert ends(out[4]) == (("198.51.100.9", 6001), (PHONE, 4001))
    assert out[5] == frames[5]
    assert [line["action"] for line in lines[2:]] == ["untouched"] * 4


def test_drop():
    with open(CONF, "a") as out:
        out.write("[sip]\non_malformed = drop\n")
    bad = REGISTER.replace(b"Content-Length: 0", b"Content-Length: -1")
    lines, _, out = replay(write("in", 101, [
        udp(PHONE, 5060, SERVER, 5060, bad), EXCHANGE[0]]))
    assert lines[0] == {"n": 1, "action": "dropped",
                        "reason": "dropped_malformed", "edits": []}
    assert len(out) == 1 and lines[1]["action"] == "rewritten"


def test_public_address():
    source = write("in", 101, EXCHANGE)
    conf("")
    done = run("-c", CONF, source, f"{WORK}/out")
    assert done.returncode == 1
    assert "public_address" in done.stderr and "--public" in done.stderr
    lines, _, out = replay(source, "--public", PUBLIC)
    check_exchange(lines, out)
    # Every private network is inside, so the public one must not be
    done = run("-c", CONF, "--public", "10.0.0.1", source, f"{WORK}/out")
    assert done.returncode == 1 and "lan_networks" in done.stderr
    conf("lan_networks = 192.168.1.0/24\npublic_address = 10.0.0.1")
    lines, _, out = replay(source)
    assert ends(out[0])[0] == ("10.0.0.1", 5060)


def test_errors():
    source = write("in", 101, EXCHANGE)
    for args in ([], [source], [source, "a", "b"], ["--bad", source, "a"],
                 ["--public", "x", source, "a"], ["--json", source, "-"]):
        done = run(*args)
        assert done.returncode == 2 and done.stderr, args
    for args in ([f"{WORK}/none", f"{WORK}/out"], [source, f"{WORK}/no/out"],
                 [source, source], [CONF, f"{WORK}/out"],
                 [write("usb", 189, []), f"{WORK}/out"]):
        done = run("-c", CONF, *args)
        assert done.returncode == 1, args
        assert done.stderr.startswith("sipalg-replay: "), args
    assert read("in")[1] == EXCHANGE
    done = run("-c", f"{WORK}/none", source, f"{WORK}/out")
    assert done.returncode == 1 and f"{WORK}/none" in done.stderr
    conf("mode = x")
    done = run("-c", CONF, source, f"{WORK}/out")
    assert done.returncode == 1
    assert f"{CONF}:5: gateway.mode:" in done.stderr
    conf(f"public_address = {PUBLIC}")
    data = open(source, "rb").read()
    open(f"{WORK}/torn", "wb").write(data[:-5])
    done = run("-c", CONF, f"{WORK}/torn", f"{WORK}/out")
    assert done.returncode == 1 and "torn" in done.stderr
    assert len(read("out")[1]) == 1
    for option in ("--help", "--version"):
        done = run(option)
        assert done.returncode == 0 and done.stdout and not done.stderr


def conf(text):
    with open(CONF, "w") as out:
        out.write(f"[gateway]\nlan_interfaces = lan0\nwan_interfaces = wan0\n"
                  f"\n{text}\n")


for name, test in list(globals().items()):
    if name.startswith("test_"):
        conf(f"public_address = {PUBLIC}")
        test()
        print(name, "OK")
PYTHON
