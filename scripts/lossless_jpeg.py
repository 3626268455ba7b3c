"""Writes lossless JPEGs (SOF3, ITU-T T.81 annex H), which Pillow reads and does not write; for make_image_golden.py."""
import struct

import numpy as np

CODE_BITS = 5  # of each length of a difference: a table that needs no statistics


class Bits:
    def __init__(self):
        self.bytes, self.held, self.count = bytearray(), 0, 0

    def put(self, value, bits):
        self.held, self.count = self.held << bits | value, self.count + bits
        while self.count >= 8:
            self.count -= 8
            self.bytes.append(self.held >> self.count)
            self.held &= (1 << self.count) - 1
            if self.bytes[-1] == 0xFF:
                self.bytes.append(0)

    def fill_byte(self):
        if self.count:
            self.put((1 << (8 - self.count)) - 1, 8 - self.count)

    def put_difference(self, difference):
        difference &= 0xFFFF
        if difference > 32768:
            difference -= 65536
        length = abs(difference).bit_length()
        self.put(length, CODE_BITS)
        if 0 < length < 16:
            self.put(difference if difference > 0 else difference + (1 << length) - 1, length)


def guess(plane, y, x, predictor, first_row):
    left, above, corner = plane[y, x - 1], plane[y - 1, x], plane[y - 1, x - 1]
    if x == 0 or first_row:
        return above if x == 0 else left
    return [0, left, above, corner, left + above - corner, left + ((above - corner) >> 1),
            above + ((left - corner) >> 1), (left + above) >> 1][predictor]


def scan_data(planes, sampling, predictor, shift, restart_rows):
    """planes: [rows, columns] each, padded to whole units."""
    bits = Bits()
    unit_rows, unit_columns = (size // samples for size, samples in zip(planes[0].shape, sampling[0][::-1]))
    for unit_y in range(unit_rows):
        fresh = restart_rows > 0 and unit_y > 0 and unit_y % restart_rows == 0
        if fresh:
            bits.fill_byte()
            bits.bytes += bytes([0xFF, 0xD0 + (unit_y // restart_rows - 1) % 8])
        begin = unit_y == 0 or fresh
        for unit_x in range(unit_columns):
            for plane, (across, down) in zip(planes, sampling):
                for y in range(unit_y * down, (unit_y + 1) * down):
                    first_row = begin and y == unit_y * down
                    for x in range(unit_x * across, (unit_x + 1) * across):
                        middle = 1 << (7 - shift)
                        expected = middle if first_row and x == 0 else guess(plane, y, x, predictor, first_row)
                        bits.put_difference(int(plane[y, x] - expected))
    bits.fill_byte()
    return bytes(bits.bytes)


def lossless_jpeg(planes, predictor, shift=0, sampling=None, restart_rows=0, one_scan=True):
    """planes: uint8 [height, width] of each component; the first has all samples."""
    sampling = sampling or [(1, 1)] * len(planes)
    height, width = planes[0].shape
    most_across, most_down = (max(samples[i] for samples in sampling) for i in (0, 1))
    units = -(-height // most_down), -(-width // most_across)
    ids = range(1, len(planes) + 1)
    out = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 8 + 3 * len(planes), 8, height, width, len(planes))
    out += b"".join(bytes([i, across << 4 | down, 0]) for i, (across, down) in zip(ids, sampling))
    codes = [0] * (CODE_BITS - 1) + [17] + [0] * (16 - CODE_BITS)
    out += b"\xff\xc4" + struct.pack(">HB", 36, 0) + bytes(codes) + bytes(range(17))
    if restart_rows:
        out += b"\xff\xdd\x00\x04" + struct.pack(">H", restart_rows * units[1])
    for part in [range(len(planes))] if one_scan else [[c] for c in range(len(planes))]:
        alone = len(part) == 1
        padded = []
        for c in part:
            plane = planes[c].astype(int) >> shift
            rows, columns = plane.shape if alone else (units[0] * sampling[c][1], units[1] * sampling[c][0])
            padded.append(np.pad(plane, ((0, rows - plane.shape[0]), (0, columns - plane.shape[1])), mode="edge"))
        out += b"\xff\xda" + struct.pack(">HB", 6 + 2 * len(part), len(part))
        out += b"".join(bytes([ids[c], 0]) for c in part) + bytes([predictor, 0, shift])
        out += scan_data(padded, [(1, 1) if alone else sampling[c] for c in part], predictor, shift, restart_rows)
    return out + b"\xff\xd9"


def waves(component, height=21, width=29):
    y, x = np.mgrid[0:height, 0:width]
    rough = (x * 7919 + y * 104729 + component * 31) % 23
    return np.clip(120 + 90 * np.sin(x / (3 + component) + y / 5) + rough, 0, 255).astype(np.uint8)


def lossless_files():
    red, green, blue, black = (waves(component) for component in range(4))
    for predictor in range(1, 8):
        planes = [red] if predictor % 3 == 0 else [red, green, blue]
        yield f"jpeg_lossless_{predictor}.jpg", lossless_jpeg(planes, predictor)
    yield "jpeg_lossless_scans.jpg", lossless_jpeg([red, green, blue], 4, one_scan=False)
    yield "jpeg_lossless_restarts.jpg", lossless_jpeg([red, green, blue], 5, restart_rows=2)
    yield "jpeg_lossless_shifted.jpg", lossless_jpeg([red, green, blue], 7, shift=2)
    yield "jpeg_lossless_cmyk.jpg", lossless_jpeg([red, green, blue, black], 6)
    coarse = [red, green[::2, ::2], blue[:, ::2]]
    yield "jpeg_lossless_sampled.jpg", lossless_jpeg(coarse, 6, sampling=[(2, 2), (1, 1), (1, 2)])
    whole = lossless_jpeg([red, green, blue], 4)
    yield "jpeg_lossless_cut.jpg", whole[: len(whole) * 3 // 5] + b"\xff\xd9"  # rows behind the cut are grey
    at = len(whole) // 2
    yield "jpeg_lossless_damaged.jpg", whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
