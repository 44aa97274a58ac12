#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# sipalg-replay over every vector: what leaves is what the vector wants, twice
# the same bytes; and over its own output it changes nothing.
set -u

command -v python3 >/dev/null || { echo "SKIP: needs python3"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec python3 - "${SIPALG_BUILD_DIR:?}/sipalg-replay" \
	"${SIPALG_SOURCE_DIR:?}/tests/vectors" "$work" <<'PYTHON'
import glob, ipaddress, json, os, struct, subprocess, sys

REPLAY, VECTORS, WORK = sys.argv[1:]
PUBLIC = {4: "203.0.113.1", 6: "2001:db8:1::1"}
CONF = "[gateway]\nlan_interfaces = lan0\nwan_interfaces = wan0\n" \
       "lan_networks = 192.168.1.0/24, fd00:1::/64\n"
LINKTYPE_RAW = 101


def steps(path):
    """(words, bytes) of each step."""
    for part in open(path, "rb").read().split(b"#> ")[1:]:
        head, _, body = part.partition(b"\n")
        yield head.decode().split(), body.removesuffix(b"\n")


def endpoint(text):
    host, _, port = text.rpartition(":")
    return ipaddress.ip_address(host.strip("[]")), int(port)


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H",
                              data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(src, dst, payload):
    (src, sport), (dst, dport) = endpoint(src), endpoint(dst)
    size = 8 + len(payload)
    pseudo = src.packed + dst.packed + struct.pack("!IHH", size, 0, 17)
    udp = struct.pack("!HHHH", sport, dport, size, 0) + payload
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xffff) \
        + udp[8:]
    if src.version == 6:
        return struct.pack("!IHBB", 6 << 28, size, 17, 64) + src.packed \
            + dst.packed + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 1, 0, 64, 17, 0) \
        + src.packed + dst.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def payload(data):
    return data[48:] if data[0] >> 4 == 6 else data[28:]


def write(path, packets):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144,
                              LINKTYPE_RAW))
        for seconds, data in packets:
            out.write(struct.pack("<IIII", seconds, 0, len(data), len(data)))
            out.write(data)


def read(path):
    data, at = open(path, "rb").read(), 24
    while at < len(data):
        seconds, _, size, _ = struct.unpack_from("<IIII", data, at)
        yield seconds, data[at + 16:at + 16 + size]
        at += 16 + size


def replay(public, source, result):
    done = subprocess.run(
        [REPLAY, "-c", f"{WORK}/conf", "--public", public, "--json",
         source, result], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(path):
    conf, seconds, packets = CONF, 1000, []
    for words, body in steps(path):
        if words[0] == "conf":
            conf += body.decode() + "\n"
        elif words[0] == "wait":
            seconds += int(words[1])
        elif words[0] in ("out", "in"):
            packets.append((seconds, packet(words[1], words[2], body)))
    open(f"{WORK}/conf", "w").write(conf)
    version = {data[0] >> 4 for _, data in packets}
    if len(version) != 1:
        return False  # one public address is all that --public can say
    public = PUBLIC[version.pop()]
    names = [f"{WORK}/{n}.pcap" for n in ("in", "one", "two", "again")]
    write(names[0], packets)
    said = replay(public, names[0], names[1])
    replay(public, names[0], names[2])
    first = open(names[1], "rb").read()
    assert first == open(names[2], "rb").read(), "another result next time"
    left = list(read(names[1]))
    for told, (_, was), step in zip(said, packets, wants(path)):
        words, body = step
        if words[0] == "drop":
            assert told["action"] == "dropped", told
            continue
        _, data = left.pop(0)
        # What no rule brings to the daemon has a reason of its own here
        counted[told["reason"] == words[3]] += 1
        if told["reason"] == words[3]:
            same = words[4:] == ["same"]
            assert payload(data) == (payload(was) if same else body), told
    assert not left
    for told in replay(public, names[1], names[3]):
        assert told["action"] == "untouched", told
    assert first == open(names[3], "rb").read(), "its own output changed"
    return True


def wants(path):
    for words, body in steps(path.removesuffix(".sip") + ".want"):
        if words[0] in ("out", "in", "drop"):
            yield words, body


failed, done, counted = 0, 0, [0, 0]
for path in sorted(glob.glob(f"{VECTORS}/*.sip")):
    try:
        done += check(path)
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"{os.path.basename(path)}: {error}")
        failed = 1
print(f"{done} vectors replayed, {counted[1]} packets as they want, "
      f"{counted[0]} not for the queue")
sys.exit(failed or done < 80 or counted[0] * 20 > counted[1])
PYTHON
