#include "worker/jpeg/lossless.h"

#include <algorithm>
#include <string_view>

#include "configs/error.h"

namespace lapidary {
namespace {

constexpr uint8_t kMark = 0xff;
constexpr uint8_t kLosslessFrame = 0xc3, kHuffman = 0xc4, kFirstRestart = 0xd0, kStartOfImage = 0xd8;
constexpr uint8_t kEndOfImage = 0xd9, kStartOfScan = 0xda, kRestartInterval = 0xdd, kJfif = 0xe0,
                  kAdobe = 0xee;
constexpr int kPrecision = 8;  // bits

int be16(std::span<const uint8_t> bytes, size_t at) { return bytes[at] << 8 | bytes[at + 1]; }

int ceil_div(int a, int b) { return (a + b - 1) / b; }

bool begins_with(std::span<const uint8_t> data, std::string_view word) {
  return data.size() >= word.size() &&
         std::equal(word.begin(), word.end(), data.begin(),
                    [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

[[noreturn]] void fail_short(const char* what, size_t bytes) {
  fail("broken JPEG: its ", what, " has only ", bytes, " bytes");
}

/// Of those that may stand in a lossless file and have a length.
bool is_of_segment(uint8_t mark) {
  constexpr uint8_t kArithmetic = 0xcc, kQuantisers = 0xdb, kLines = 0xdc, kLastApplication = 0xef,
                    kComment = 0xfe;
  return mark == kLosslessFrame || mark == kHuffman || mark == kArithmetic || mark == kRestartInterval ||
         mark == kQuantisers || mark == kLines || (mark >= kJfif && mark <= kLastApplication) ||
         mark == kComment;
}

/// The guess for a sample by its neighbours to the left, above, and above to the left.
int predict(int predictor, int left, int above, int corner) {
  switch (predictor) {
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return corner;
    case 4:
      return left + above - corner;
    case 5:
      return left + ((above - corner) >> 1);
    case 6:
      return above + ((left - corner) >> 1);
    default:
      return (left + above) >> 1;
  }
}

}  // namespace

struct LosslessReader::Part {
  LosslessFrame::Component* component;
  const JpegHuffman* table;
  int across, down;             // samples in a unit of this scan
  bool first_row = true;        // no row above to guess by
  std::vector<uint16_t> above;  // restored, before the point transform; 16 bits, as the standard counts
  std::vector<std::vector<int>> rows;  // differences of the rows of a row of units
};

struct LosslessReader::Scan {
  std::vector<Part> parts;
  int predictor = 1;
  int shift = 0;         // point transform
  int across = 0;        // units in a row
  int rows_at_once = 1;  // rows of units that are restored together
  int rows_to_restart = 0;
  int next_restart = 0;  // 0 to 7
  JpegBits bits;
};

LosslessReader::LosslessReader(std::span<const uint8_t> bytes)
    : bytes_(bytes.subspan(std::min<size_t>(2, bytes.size()))), file_size_(bytes.size()) {
  const uint8_t mark = read_to_scan();
  if (mark == 0) fail_truncated();
  if (mark != kStartOfScan) fail("broken JPEG: no image in it");
  if (frame_.components.empty()) fail("broken JPEG: a scan comes before the frame's header");
}

void LosslessReader::fail_truncated() const {
  fail("truncated JPEG: the image goes on after its ", file_size_, " bytes");
}

/// Stands behind the mark then; 0 where the file ends without one.
uint8_t LosslessReader::next_mark() {
  for (;;) {
    bytes_ =
        bytes_.subspan(static_cast<size_t>(std::find(bytes_.begin(), bytes_.end(), kMark) - bytes_.begin()));
    while (!bytes_.empty() && bytes_[0] == kMark) bytes_ = bytes_.subspan(1);
    if (bytes_.empty()) return 0;
    const uint8_t mark = bytes_[0];
    bytes_ = bytes_.subspan(1);
    if (mark != 0) return mark;
  }
}

/// Nothing where the file ends inside.
std::optional<std::span<const uint8_t>> LosslessReader::segment() {
  const size_t size = bytes_.size() < 2 ? 0 : static_cast<size_t>(be16(bytes_, 0));
  if (bytes_.size() < std::max<size_t>(2, size)) return {};
  if (size < 2) fail("broken JPEG: Bogus marker length");
  const auto data = bytes_.first(size).subspan(2);
  bytes_ = bytes_.subspan(size);
  return data;
}

/// Takes what stands before the next scan, or before the end of the image; 0 where the file ends without
/// either.
uint8_t LosslessReader::read_to_scan() {
  for (;;) {
    const uint8_t mark = next_mark();
    if (mark == 0 || mark == kEndOfImage || mark == kStartOfScan) return mark;
    if (mark == 1 || (mark >= kFirstRestart && mark < kStartOfImage)) continue;
    if (!is_of_segment(mark)) fail("broken JPEG: the mark ", int{mark}, " that it holds has no place there");
    const auto data = segment();
    if (!data) return 0;
    if (mark == kLosslessFrame) take_frame(*data);
    if (mark == kHuffman) take_tables(*data);
    if (mark == kJfif || mark == kAdobe) take_application(mark, *data);
    if (mark == kRestartInterval) {
      if (data->size() < 2) fail_short("restart interval", data->size());
      restart_interval_ = be16(*data, 0);
    }
  }
}

void LosslessReader::take_frame(std::span<const uint8_t> data) {
  if (!frame_.components.empty()) fail("broken JPEG: it has two frames");
  if (data.size() < 6 || data.size() != size_t{6} + size_t{data[5]} * 3)
    fail_short("frame's header", data.size());
  if (data[0] != kPrecision)
    fail("lossless JPEG of ", int{data[0]}, " bits a sample; ", kPrecision, " are known: save it with them");
  frame_.height = be16(data, 1);
  frame_.width = be16(data, 3);
  for (size_t at = 6; at < data.size(); at += 3) {
    LosslessFrame::Component component{data[at], data[at + 1] >> 4, data[at + 1] & 15, 0, 0, {}};
    if (component.across < 1 || component.across > 4 || component.down < 1 || component.down > 4)
      fail("broken JPEG: Bogus sampling factors");
    frame_.max_across = std::max(frame_.max_across, component.across);
    frame_.max_down = std::max(frame_.max_down, component.down);
    frame_.components.push_back(std::move(component));
  }
  for (LosslessFrame::Component& component : frame_.components) {
    component.width = ceil_div(frame_.width * component.across, frame_.max_across);
    component.height = ceil_div(frame_.height * component.down, frame_.max_down);
  }
}

void LosslessReader::take_tables(std::span<const uint8_t> data) {
  constexpr size_t kLengths = 16;
  while (data.size() > kLengths) {
    const uint8_t index = data[0];
    const auto lengths = data.subspan(1).first<kLengths>();
    size_t count = 0;
    for (const uint8_t length : lengths) count += length;
    data = data.subspan(1 + kLengths);
    if (count > data.size()) fail_short("Huffman tables", data.size());
    if (index < std::size(tables_)) tables_[index].emplace(lengths, data.first(count));
    data = data.subspan(count);
  }
  if (!data.empty()) fail_short("Huffman tables", data.size());
}

void LosslessReader::take_application(uint8_t mark, std::span<const uint8_t> data) {
  if (mark == kJfif && data.size() >= 14 && begins_with(data, std::string_view("JFIF\0", 5)))
    frame_.jfif = true;
  if (mark == kAdobe && data.size() >= 12 && begins_with(data, "Adobe")) frame_.adobe_transform = data[11];
}

/// What a scan's header says of one of its components: `id` and the number of its table.
LosslessReader::Part LosslessReader::part_of(uint8_t id, size_t table, bool alone) {
  const auto component = std::find_if(frame_.components.begin(), frame_.components.end(),
                                      [&](const auto& known) { return known.id == id; });
  if (component == frame_.components.end()) fail("broken JPEG: a scan of a component that it does not have");
  if (table >= std::size(tables_) || !tables_[table])
    fail("broken JPEG: Huffman table ", table, " is missing");
  component->samples.resize(static_cast<size_t>(component->width) * static_cast<size_t>(component->height));
  Part part{
      &*component, &*tables_[table], alone ? 1 : component->across, alone ? 1 : component->down, true, {},
      {}};
  const int units = alone ? component->width : ceil_div(frame_.width, frame_.max_across);
  part.above.resize(static_cast<size_t>(component->width));
  part.rows.assign(static_cast<size_t>(component->down),
                   std::vector<int>(static_cast<size_t>(units) * static_cast<size_t>(part.across)));
  return part;
}

/// Reads the header that stands behind the mark of a scan.
LosslessReader::Scan LosslessReader::next_scan() {
  const auto header = segment();
  if (!header) fail_truncated();
  const std::span<const uint8_t> data = *header;
  const size_t count = data.empty() ? 0 : data[0];
  if (count == 0 || count > frame_.components.size() || data.size() != 4 + 2 * count)
    fail("broken JPEG: its scan's header of ", data.size(), " bytes speaks of ", count, " of its ",
         frame_.components.size(), " components");
  Scan scan;
  scan.predictor = data[1 + 2 * count];
  scan.shift = data[3 + 2 * count];
  if (scan.predictor < 1 || scan.predictor > 7 || data[2 + 2 * count] != 0 || scan.shift >= kPrecision)
    fail("broken JPEG: a lossless scan with the predictor ", scan.predictor, " and the shift ", scan.shift);
  for (size_t i = 0; i < count; ++i) {
    Part part = part_of(data[1 + 2 * i], data[2 + 2 * i] >> 4, count == 1);
    for (const Part& other : scan.parts)
      if (other.component == part.component) fail("broken JPEG: a scan that names a component twice");
    scan.parts.push_back(std::move(part));
  }
  const LosslessFrame::Component& first = *scan.parts[0].component;
  scan.across = count == 1 ? first.width : ceil_div(frame_.width, frame_.max_across);
  scan.rows_at_once = count == 1 ? first.down : 1;
  if (restart_interval_ % scan.across != 0)
    fail("broken JPEG: it restarts every ", restart_interval_, " units, which is no whole number of rows of ",
         scan.across);
  return scan;
}

/// Up to the next mark, before which the reader stands then.
std::span<const uint8_t> LosslessReader::pixels_bytes() {
  const auto begin = bytes_;
  for (;;) {
    bytes_ =
        bytes_.subspan(static_cast<size_t>(std::find(bytes_.begin(), bytes_.end(), kMark) - bytes_.begin()));
    const auto mark = bytes_;
    while (!bytes_.empty() && bytes_[0] == kMark) bytes_ = bytes_.subspan(1);
    if (bytes_.empty()) fail_truncated();
    if (bytes_[0] == 0) continue;
    bytes_ = mark;
    return begin.first(static_cast<size_t>(mark.data() - begin.data()));
  }
}

void LosslessReader::restart(Scan& scan) {
  if (next_mark() != kFirstRestart + scan.next_restart)
    fail("broken JPEG: the mark RST", scan.next_restart, " of a lossless scan is missing");
  scan.next_restart = (scan.next_restart + 1) % 8;
  scan.rows_to_restart = restart_interval_ / scan.across;
  scan.bits = JpegBits(pixels_bytes());
  for (Part& part : scan.parts) part.first_row = true;
}

/// One row of units. `row`: of those that are restored together.
void LosslessReader::read_differences(Scan& scan, int row) {
  if (restart_interval_ > 0 && scan.rows_to_restart == 0) restart(scan);
  --scan.rows_to_restart;
  if (scan.bits.ran_out()) {
    for (Part& part : scan.parts) {
      for (int y = 0; y < part.down; ++y) std::ranges::fill(part.rows[static_cast<size_t>(row + y)], 0);
      part.first_row = true;
    }
    return;
  }
  for (int unit = 0; unit < scan.across; ++unit)
    for (Part& part : scan.parts)
      for (int y = 0; y < part.down; ++y) {
        int* to = part.rows[static_cast<size_t>(row + y)].data() + unit * part.across;
        for (int x = 0; x < part.across; ++x) to[x] = scan.bits.difference(*part.table);
      }
}

/// From differences to samples.
void LosslessReader::restore_rows(Scan& scan, int unit_row) {
  for (Part& part : scan.parts) {
    LosslessFrame::Component& component = *part.component;
    const int begin = unit_row * component.down, end = std::min(component.height, begin + component.down);
    for (int y = begin; y < end; ++y) {
      const int* difference = part.rows[static_cast<size_t>(y - begin)].data();
      uint8_t* sample =
          component.samples.data() + static_cast<size_t>(y) * static_cast<size_t>(component.width);
      int left = part.first_row ? 1 << (kPrecision - scan.shift - 1) : part.above[0], corner = left;
      for (int x = 0; x < component.width; ++x) {
        const int above = part.above[static_cast<size_t>(x)];
        const int guess = x == 0 || part.first_row ? left : predict(scan.predictor, left, above, corner);
        left = (difference[x] + guess) & 0xffff;
        corner = above;
        part.above[static_cast<size_t>(x)] = static_cast<uint16_t>(left);
        sample[x] = static_cast<uint8_t>(left << scan.shift);
      }
      part.first_row = false;
    }
  }
}

void LosslessReader::read_scan(Scan& scan) {
  scan.bits = JpegBits(pixels_bytes());
  scan.rows_to_restart = restart_interval_ / scan.across;
  const int unit_rows = ceil_div(frame_.height, frame_.max_down);
  for (int unit_row = 0; unit_row < unit_rows; ++unit_row) {
    const int left_over = scan.parts[0].component->height - unit_row * scan.rows_at_once;
    const int rows = scan.rows_at_once == 1 ? 1 : std::min(scan.rows_at_once, left_over);
    for (int row = 0; row < rows; ++row) read_differences(scan, row);
    restore_rows(scan, unit_row);
  }
}

void LosslessReader::read_scans() {
  Scan scan = next_scan();
  read_scan(scan);
  if (scan.parts.size() == frame_.components.size()) {
    // A mark unknown to JPEG behind the pixels means that they were damaged; a missing end mark is no harm.
    if (read_to_scan() == kStartOfScan) fail("broken JPEG: a scan follows the one that holds all");
    return;
  }
  for (uint8_t mark = read_to_scan(); mark != kEndOfImage; mark = read_to_scan()) {
    if (mark == 0) fail_truncated();
    scan = next_scan();
    read_scan(scan);
  }
  for (const LosslessFrame::Component& component : frame_.components)
    if (component.samples.empty()) fail("broken JPEG: no scan brings its component ", component.id);
}

}  // namespace lapidary
