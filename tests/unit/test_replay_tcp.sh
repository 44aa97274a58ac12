#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sipalg-replay on captures of TCP: the stream that leaves is the one that came,
# rewritten, however it was cut.
set -u

command -v python3 >/dev/null || { echo "SKIP: needs python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec python3 - "${SIPALG_BUILD_DIR:?}/sipalg-replay" "$work" <<'PYTHON'
import json, random, socket, struct, subprocess, sys

REPLAY, WORK = sys.argv[1:]
PHONE, SERVER, PUBLIC = "192.168.1.10", "198.51.100.5", "203.0.113.1"
PORT = 40000
FIN, SYN, ACK = 1, 2, 16

with open(f"{WORK}/conf", "w") as conf:
    conf.write("[gateway]\nlan_interfaces = lan0\nwan_interfaces = wan0\n"
               f"lan_networks = 192.168.1.0/24\npublic_address = {PUBLIC}\n"
               "[limits]\nrate_per_phone = 1000000\n"
               "[log]\nlevel = error\n")


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def segment(src, sport, dst, dport, seq, ack, flags, data=b"", options=b""):
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32,
                      (20 + len(options)) // 4 << 4, flags, 65000, 0,
                      0) + options + data
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack(
        "!BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64,
                       6, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


class Capture:
    """Frames of one connection; both ends acknowledge what was captured."""

    def __init__(self, seen_syn=True, answers=True):
        self.frames, self.answers = [], answers
        self.seq = [2**32 - 300, 2**31 - 200]  # they wrap on the way
        if seen_syn:
            mss = b"\x02\x04\x05\xb4"
            self.put(0, SYN, options=mss)
            self.seq[0] += 1
            self.put(1, SYN | ACK, options=mss)
            self.seq[1] += 1
            self.put(0, ACK)

    def put(self, end, flags, data=b"", options=b"", at=None):
        ends = [(PHONE, PORT, SERVER, 5060), (SERVER, 5060, PUBLIC, PORT)]
        if end and not self.answers and not flags & SYN:
            return
        self.frames.append(segment(
            *ends[end], self.seq[end] if at is None else at,
            self.seq[1 - end] if flags & ACK else 0, flags, data, options))

    def send(self, end, data, cuts=()):
        cuts = [0, *cuts, len(data)]
        for first, last in zip(cuts, cuts[1:]):
            self.put(end, ACK, data[first:last])
            self.seq[end] += last - first
            self.put(1 - end, ACK)

    def run(self, *options):
        with open(f"{WORK}/in.pcap", "wb") as out:
            out.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535,
                                  101))
            for i, frame in enumerate(self.frames):
                out.write(struct.pack("=IIII", 1000 + i // 100, i % 100,
                                      len(frame), len(frame)) + frame)
        done = subprocess.run([REPLAY, "-c", f"{WORK}/conf", *options,
                               f"{WORK}/in.pcap", f"{WORK}/out.pcap"],
                              capture_output=True, check=True)
        assert not done.stderr, done.stderr
        with open(f"{WORK}/out.pcap", "rb") as out:
            data = out.read()[24:]
        frames = []
        while data:
            size = struct.unpack("=I", data[8:12])[0]
            frames.append(data[16:16 + size])
            data = data[16 + size:]
        return frames, [json.loads(line) for line in done.stdout.splitlines()]


def stream(frames, src, dst):
    """What a receiver makes of the packets from src to dst."""
    base, parts, ended = None, {}, False
    for frame in frames:
        if (frame[12:16], frame[16:20]) != (socket.inet_aton(src),
                                            socket.inet_aton(dst)):
            continue
        pseudo = frame[12:20] + struct.pack("!BBH", 0, 6, len(frame) - 20)
        assert checksum(frame[:20]) == 0 == checksum(pseudo + frame[20:])
        seq, flags = struct.unpack("!I", frame[24:28])[0], frame[33]
        if flags & SYN:
            seq += 1
        if base is None:
            base = seq
        data = frame[20 + (frame[32] >> 4) * 4:]
        at = (seq - base + 2**31) % 2**32 - 2**31
        for i, byte in enumerate(data):
            assert parts.setdefault(at + i, byte) == byte, at + i
        ended = ended or flags & FIN
    assert sorted(parts) == list(range(len(parts))), "holes"
    return bytes(parts[i] for i in range(len(parts))), bool(ended)


def request(method, cseq, body=b"", pad=0):
    return (f"{method} sip:example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/TCP {PHONE}:{PORT};branch=z9hG4bK{cseq};alias\r\n"
            f"From: <sip:u@{PHONE}>;tag=1\r\nTo: <sip:u@example.com>\r\n"
            f"Call-ID: a\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:u@{PHONE}:{PORT};transport=tcp;ob>\r\n"
            f"X-Padding: {'x' * pad}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def answer(cseq):
    return (f"SIP/2.0 200 OK\r\n"
            f"v: SIP/2.0/TCP {PUBLIC}:{PORT};branch=z9hG4bK{cseq};alias;"
            f"received={PUBLIC};rport={PORT}\r\n"
            f"From: <sip:u@{PUBLIC}>;tag=1\r\nTo: <sip:u@example.com>;tag=2\r\n"
            f"Call-ID: a\r\nCSeq: {cseq} OPTIONS\r\nl: 0\r\n\r\n").encode()


def out(data):
    return data.replace(PHONE.encode(), PUBLIC.encode())


def into(data):
    return data.replace(PUBLIC.encode(), PHONE.encode())


def check(capture, sent, received, ended=False):
    frames, lines = capture.run("--json")
    assert stream(frames, PUBLIC, SERVER) == (out(sent), ended), (
        stream(frames, PUBLIC, SERVER), out(sent))
    assert stream(frames, SERVER, PHONE)[0] == into(received), (
        stream(frames, SERVER, PHONE), into(received))
    assert len(lines) == len(capture.frames)
    return lines


one = request("OPTIONS", 1)
for cut in range(1, len(one), 7):
    c = Capture()
    c.send(0, one, [cut])
    c.send(1, answer(1), [cut // 2])
    lines = check(c, one, answer(1))
    edits = [line["edits"] for line in lines if line["edits"]]
    assert [edit["site"] for edit in edits[0]] == [
        "Via", "From", "Contact"], edits
    assert [edit["site"] for edit in edits[1]] == [
        "Via", "Via received", "From"], edits[1]

# Several messages in a segment, keep-alives between, the longest of all
sent = one + b"\r\n\r\n" + request("OPTIONS", 2) + request("MESSAGE", 3,
                                                           b"a" * 9000)
c = Capture()
c.send(0, sent, range(1400, len(sent), 1400))
c.put(0, FIN | ACK)
lines = check(c, sent, b"", ended=True)
assert max(len(line["edits"]) for line in lines) == 6

# Of the phone's network only: nobody acknowledges, and nothing waits for it
many = b"".join(request("OPTIONS", i, pad=i) for i in range(1, 1000))
c = Capture(answers=False)
c.send(0, many, sorted(random.Random(1).sample(range(1, len(many)), 700)))
check(c, many, b"")

# Begun before the capture: at the beginning of a message, and within one
for first in (0, 100):
    c = Capture(seen_syn=False)
    c.put(0, ACK)
    c.put(1, ACK)
    c.send(0, one[first:])
    c.send(0, one)
    frames, _ = c.run()
    assert stream(frames, PUBLIC, SERVER)[0] == (
        out(one + one) if not first else one[first:] + one)

# A packet that the capture has missed: what follows passes as it is
c = Capture()
c.send(0, one)
c.seq[0] += len(one)
c.put(1, ACK)
c.send(0, one)
frames, lines = c.run("--json")
tail = [f for f in frames if f[12:16] == socket.inet_aton(PUBLIC)][-1]
assert tail.endswith(one) and lines[-2]["action"] == "rewritten", lines[-2:]

# What is not SIP is not touched, not even where SIP follows
alien = b"POST /x HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"a" * 1000
c = Capture()
c.send(0, alien + one, [len(alien)])
frames, lines = c.run("--json")
assert stream(frames, PUBLIC, SERVER)[0] == alien + one
assert {line["reason"] for line in lines} == {"not_sip", "tcp_segments"}
print("ok")
PYTHON
