# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tone is in a recording, or in the RTP packets of a capture?"""

import array
import dataclasses
import math
import wave

RATE = 8000  # of PCMU, and of what baresip records from it
LOWEST_HZ, HIGHEST_HZ, STEP_HZ = 100, 3000, 10
SILENCE = 100  # of 32767
PURE = 0.8  # share of the power that one clean tone has at least


@dataclasses.dataclass(frozen=True)
class Tone:
    """What was found; hz is None for silence and for no recording at all."""
    hz: int
    share: float  # of the whole power, 0..1
    seconds: float

    def is_at(self, hz, seconds=0):
        """One clean tone of that frequency, at least that long."""
        return (self.hz is not None and abs(self.hz - hz) <= STEP_HZ
                and self.share >= PURE and self.seconds >= seconds)

    def __str__(self):
        if self.hz is None:
            return "nothing"
        return f"{self.hz} Hz ({self.share:.0%} pure, {self.seconds:.1f} s)"


def of_file(path):
    """The Tone of a mono 16-bit wav file; nothing where path is None."""
    if path is None:
        return of_samples([])
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(),
                file.getsampwidth()) == (RATE, 1, 2), path
        return of_samples(array.array("h", file.readframes(
            file.getnframes())))


def of_pcmu(payloads):
    """The Tone in PCMU payloads of RTP packets, in order."""
    return of_samples([_from_pcmu(byte) for byte in b"".join(payloads)])


def of_samples(samples):
    """The Tone of 8 kHz samples; judged by the second in the middle."""
    seconds = len(samples) / RATE
    start = max(0, (len(samples) - RATE) // 2)
    middle = samples[start:start + RATE]
    power = sum(s * s for s in middle)
    if not middle or power < SILENCE * SILENCE * len(middle):
        return Tone(None, 0.0, seconds)
    strength = {hz: _goertzel(middle, hz)
                for hz in range(LOWEST_HZ, HIGHEST_HZ + 1, STEP_HZ)}
    best = max(strength, key=strength.get)
    # A sine of amplitude A over N samples: |X|^2 = (A*N/2)^2, power A^2*N/2
    return Tone(best, strength[best] * 2 / len(middle) / power, seconds)


def _goertzel(samples, hz):
    """|X|^2 of the samples at one frequency (Goertzel's algorithm)."""
    factor = 2 * math.cos(2 * math.pi * hz / RATE)
    last = before = 0.0
    for sample in samples:
        last, before = sample + factor * last - before, last
    return last * last + before * before - factor * last * before


def _from_pcmu(byte):
    """One mu-law byte as a 14-bit-scaled sample (ITU-T G.711)."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84) << ((byte >> 4) & 7)
    return 0x84 - magnitude if byte & 0x80 else magnitude - 0x84
