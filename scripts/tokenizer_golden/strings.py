"""Texts of all kinds: scripts, emoji, controls, marks, white space, added tokens and what nearly is one."""

import unicodedata

# One sentence each, our own: "a red ball lies on the table", or near it.
SENTENCES = """
A red ball lies on the table. | Ein roter Ball liegt auf dem Tisch. | Une balle rouge est posée sur la table.
Una pelota roja está sobre la mesa, ¿verdad? | Uma bola vermelha está sobre a mesa. | Een rode bal ligt op de tafel.
Czerwona piłka leży na stole. | Červený míč leží na stole. | Kırmızı bir top masanın üstünde. | Quả bóng đỏ nằm trên bàn.
En röd boll ligger på bordet. | Punainen pallo on pöydällä. | Egy piros labda van az asztalon. | Rauður bolti er á borðinu.
Красный мяч лежит на столе. | Червена топка лежи на масата. | Μια κόκκινη μπάλα είναι πάνω στο τραπέζι. | Կարմիր գնդակը սեղանի վրա է։
כדור אדום מונח על השולחן. | كرة حمراء على الطاولة. | توپ قرمز روی میز است. | سرخ گیند میز پر ہے۔
एक लाल गेंद मेज़ पर है। | একটি লাল বল টেবিলে আছে। | ஒரு சிவப்பு பந்து மேசையில் உள்ளது. | ఒక ఎర్ర బంతి బల్ల మీద ఉంది.
ಒಂದು ಕೆಂಪು ಚೆಂಡು ಮೇಜಿನ ಮೇಲಿದೆ. | ഒരു ചുവന്ന പന്ത് മേശയിലുണ്ട്. | લાલ દડો ટેબલ પર છે. | ਲਾਲ ਗੇਂਦ ਮੇਜ਼ ਤੇ ਹੈ।
ลูกบอลสีแดงอยู่บนโต๊ะ | ລູກບານສີແດງຢູ່ເທິງໂຕະ | ឃ្លីក្រហមនៅលើតុ | ဘောလုံးအနီရောင် စားပွဲပေါ်မှာရှိတယ်။
一个红球放在桌子上。 | 一個紅球放在桌子上。 | 赤いボールがテーブルの上にあります。 | 빨간 공이 탁자 위에 있습니다.
წითელი ბურთი მაგიდაზეა. | ቀይ ኳስ ጠረጴዛ ላይ ነው። | ᏥᏍᏆ ᎠᏓᏅᏙ | ᠤᠯᠠᠭᠠᠨ ᠪᠥᠮᠪᠦᠭᠡ | ⵜⴰⴽⵓⵔⵜ ⵜⴰⵣⴳⴳⵯⴰⵖⵜ | དམར་པོའི་སྤོ་ལོ།
"""

BLOCKS = [(0x20, 0x7E), (0xA1, 0x17F), (0x180, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x58F),
          (0x591, 0x5F4), (0x600, 0x6FF), (0x710, 0x74F), (0x780, 0x7B1), (0x900, 0x97F), (0x980, 0x9FE), (0xA01, 0xA76),
          (0xA81, 0xAFF), (0xB01, 0xB77), (0xB82, 0xBFA), (0xC00, 0xC7F), (0xC80, 0xCF2), (0xD00, 0xD7F), (0xD81, 0xDF4),
          (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF),
          (0x1200, 0x137C), (0x13A0, 0x13FD), (0x1400, 0x167F), (0x1680, 0x169C), (0x16A0, 0x16F8), (0x1780, 0x17F9),
          (0x1800, 0x1878), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20C0),
          (0x2100, 0x218B), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x2800, 0x28FF), (0x2C80, 0x2CFF),
          (0x2D30, 0x2D7F), (0x2E80, 0x2FD5), (0x3000, 0x30FF), (0x3105, 0x318E), (0x3200, 0x33FF), (0x3400, 0x4DBF),
          (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xA500, 0xA62B), (0xA840, 0xA877), (0xAB70, 0xABBF), (0xAC00, 0xD7A3),
          (0xE000, 0xE0FF), (0xF900, 0xFAD9), (0xFB1D, 0xFDFF), (0xFE20, 0xFE6B), (0xFF01, 0xFFEE), (0xFFF9, 0xFFFF),
          (0x10000, 0x100FA), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x10900, 0x1091F), (0x12000, 0x12399),
          (0x13000, 0x1342E), (0x1D100, 0x1D1E8), (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x1F000, 0x1F2FF),
          (0x1F300, 0x1F6FF), (0x1F780, 0x1FAFF), (0x20000, 0x2A6DF), (0x30000, 0x3134A), (0xE0020, 0xE007F),
          (0xE0100, 0xE01EF), (0xF0000, 0xF00FF), (0x10FF00, 0x10FFFF)]

EMOJI = ["😀", "😂", "🤗", "😈", "👍🏽", "👩‍👩‍👧‍👦", "👨🏿‍🚀", "🏳️‍🌈", "🏴‍☠️", "🇩🇪", "🇯🇵🇧🇷", "1️⃣", "#️⃣", "❤️", "❤", "☺️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🧑‍🤝‍🧑",
         "👁️‍🗨️", "🐕‍🦺", "🫠", "🪿", "🫨", "🧑🏻‍❤️‍💋‍🧑🏿"]

CODE = ["for (int i = 0; i < 10; ++i) {\n\ttotal += values[i];\n}\n", "def f(x, *, y=None):\n    return x if y is None else y ** 2\n",
        "SELECT name, count(*) FROM t WHERE a >= 3 GROUP BY 1;", "<html>\n  <body class=\"x\">\n    <h1>Hi</h1><br/>\n  </body>\n</html>",
        "{\"key\": [1, 2.5, null, true], \"t\\u00e9\": \"\\n\"}", "https://example.org/a/b?c=d&e=%20f#g", "C:\\\\temp\\\\new\\file.txt",
        "a=b;c:=d<=e!=f&&g||h^i~j`k`", "x_1, x_{12}, \\frac{a}{b} $\\alpha$", "#include <vector>\nstd::vector<int> v{1,2};",
        "\\u0041\\x41 %s %d {} {0:>8.3f}", "| a | b |\n|---|---|\n| 1 | 2 |", "<table><tr><td>1</td></tr></table>",
        "<b>bold</b> <i>it</i> <sup>2</sup><sub>n</sub> <code>x</code> <pre>", "e-mail: someone+tag@example.com; tel:+49-30/1234"]

PROMPTS = ["caption en", "caption de", "detect circle", "detect red ball ; blue square", "answer en how many cats are there?",
           "ocr", "describe en", "segment dog", "cap fr", "question en two cats", "answer en Where is the cow standing?"]

ADDED = ["<loc0000>", "<loc0001>", "<loc0512>", "<loc1023>", "<seg000>", "<seg003>", "<seg127>", "<image>", "<eos>", "<bos>",
         "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<unused0>", "<unused98>", "\n\n", "\n\n\n", "<h1>",
         "<table>", "</code>", "<2mass>", "[@BOS@]", "▁▁", "▁▁▁▁"]

NEAR = ["<loc12", "<loc1024>", "<loc 0001>", "<loc00001>", "<LOC0001>", "loc0001>", "<loc<loc0001>", "<<loc0001>>", "<seg128>",
        "<seg3>", "<image", "< image>", "<Image>", "<imag<image>", "<image>>", "<eos", "<eo<eos>s>", "<bos >", "＜bos＞", "<b", "<",
        ">", "<>", "</bos>", "<loc0001><loc", "<0x41>", "<0xE2><0x96><0x81>", "<0x0A>", "<0xe2>", "<0x", "▁", "▁a", "a▁", "▁▁▁"]

FLAGS = ["<l>", "<r>", "<lr>", "word", "words", "été", "two words", "two  words", "two", "<n>", "<nr>", "<nl>", "<s>", "<r><r>", "猫",
         "aa", "aaa", "aaaa", "photo ", "cat", "whole word ", "the ", "\n", "\n ", " ", "  ", "\t", "\u3000", "\u00a0", "_", "-",
         "é", "\u0301", "x", "7", "٣", "\u200d", "\u2003", "<unk>", "<bos>", "生活", "Ω", "漢", "🙂"]


def is_text(point):
    return not 0xD800 <= point < 0xE000


def random_characters(rng, blocks, length):
    out = []
    while len(out) < length:
        first, last = rng.choice(blocks)
        out += [chr(c) for c in (rng.randint(first, last) for _ in range(rng.randint(1, 6))) if is_text(c)]
    return "".join(out)


def spaces(rng):
    kind = rng.choice([" ", " ", "\n", "\t", "\r\n", " \n", "\u00a0", "\u3000", " \t", "\n\n "])
    return kind * rng.choice([1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33])


def scripts(rng, sentences):
    yield from sentences
    for sentence in sentences:
        yield unicodedata.normalize("NFD", sentence)
        yield sentence.upper()
        yield " ".join(sentence.split(" ")[::-1]) + rng.choice(["", "\n", " ", "!?"])
    for block in BLOCKS:
        for length in (3, 8, 20):
            yield random_characters(rng, [block], length)
    for _ in range(160):
        yield random_characters(rng, BLOCKS, rng.randint(1, 24))
    for _ in range(120):
        yield "".join(chr(c) for c in (rng.randrange(0x110000) for _ in range(rng.randint(1, 10))) if is_text(c))


def white(rng):
    for character in [" ", "\n", "\t", "\r", "\u3000", "\u00a0", "▁"]:
        for length in [1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 17, 30, 31, 32, 33, 47, 48, 49, 62, 63, 64, 65, 100, 200]:
            yield character * length
    for _ in range(150):
        yield spaces(rng) + rng.choice(["a", "Hello", "7", "é", "."]) + spaces(rng) + rng.choice(["", "b", "world", "\n"])


def controls(rng):
    for point in [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029, 0x202E,
                  0x2060, 0x2066, 0xFEFF, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF]:
        yield "a" + chr(point) + "b " + chr(point)
    for _ in range(40):
        yield "".join(rng.choice(["a", "B", " ", "\u202e", "\u2066שלום\u2069", "\x00", "\x1b[0m", "\u200b", "\x7f", "\ufeff"])
                      for _ in range(rng.randint(2, 12)))


def marks(rng):
    for _ in range(80):
        yield "".join(rng.choice("aeiouyAZn ") + "".join(chr(rng.randint(0x300, 0x36F)) for _ in range(rng.randint(0, 5)))
                      for _ in range(rng.randint(1, 8)))
    for _ in range(60):
        yield rng.choice(["", "Look: ", "a"]) + "".join(rng.choice(EMOJI + [" "]) for _ in range(rng.randint(1, 7)))
    yield from EMOJI


def numbers(rng):
    for _ in range(120):
        digits = str(rng.randrange(10 ** rng.randint(1, 18)))
        yield rng.choice(["{}", " {}", "${}", "{}%", "-{}", "{}.50", "no. {}, ", "2024-01-{}", "{}e-5", "0x{}", "{} + {} = "]).format(
            digits, digits[::-1])
    yield from ["٣٤٥", "१२३", "１２３", "Ⅷ ½ ²³", "1,234,567.89", "3 1 4 1 5", "12:34:56", "00000000000000000000"]


def added(rng, sentences):
    yield from ADDED + NEAR
    for _ in range(300):
        yield "".join(rng.choice([rng.choice(ADDED), rng.choice(ADDED), rng.choice(NEAR), " ", "a", rng.choice(sentences)[:12], "\n"])
                      for _ in range(rng.randint(2, 9)))
    for _ in range(60):
        boxes = [f"<loc{rng.randrange(1024):04d}>" for _ in range(4)] + [f"<seg{rng.randrange(128):03d}>" for _ in range(rng.choice([0, 16]))]
        yield "".join(boxes) + rng.choice([" cat", " red ball ; ", "dog"]) + rng.choice(["", "<eos>", "\n"])
    for prompt in PROMPTS:
        yield prompt + "\n"
        yield "<image>" * rng.randint(1, 5) + "<bos>" + prompt + "\n"


def mixtures(rng, pool):
    for _ in range(330):
        pieces = [rng.choice(pool) for _ in range(rng.randint(2, 5))]
        yield rng.choice(["", " ", "\n", "  "]).join(piece[: rng.randint(1, 30)] for piece in pieces)


def long(rng, pool):
    """Long enough that an order of merging that is nearly right shows."""
    yield "a" * 1500
    yield "ab" * 700
    yield "word " * 250
    yield " " * 700 + "x" + "\n" * 700
    yield "".join(rng.choice("abcde") for _ in range(1500))
    yield "".join(rng.choice("aA \n1.") for _ in range(1500))
    yield "生活的真谛是" * 120
    yield "😀" * 150
    for _ in range(6):
        yield " ".join(rng.choice(pool) for _ in range(20))[:1500]


def with_flags(rng):
    yield from FLAGS
    for _ in range(330):
        yield "".join(rng.choice(FLAGS) for _ in range(rng.randint(2, 7)))


def make(rng):
    """(texts without repeats, the indices of those made for tokenizers with flags)."""
    sentences = [part.strip() for part in SENTENCES.replace("\n", "|").split("|") if part.strip()]
    texts = ["", *scripts(rng, sentences), *white(rng), *controls(rng), *marks(rng), *numbers(rng), *CODE, *PROMPTS,
             *added(rng, sentences)]
    texts += [*mixtures(rng, texts), *long(rng, sentences + CODE)]
    flagged = set(with_flags(rng))
    texts = list(dict.fromkeys(texts + sorted(flagged)))
    return texts, {index for index, text in enumerate(texts) if text in flagged}
