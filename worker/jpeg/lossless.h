#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/jpeg/bits.h"

namespace lapidary {

/// The frame of a lossless JPEG (SOF3, ITU-T T.81 annex H), 8 bits a sample, which Debian's libjpeg-turbo 2.1
/// does not read and Pillow 13 with libjpeg-turbo 3 does.
struct LosslessFrame {
  struct Component {
    int id = 0;
    int across = 1, down = 1;      // samples in a unit, which is as large as the most that a component has
    int width = 0, height = 0;     // samples
    std::vector<uint8_t> samples;  // [height, width]; empty until a scan brings them
  };
  int width = 0, height = 0;  // pixels
  int max_across = 1, max_down = 1;
  bool jfif = false;
  int adobe_transform = -1;  // -1: no word of Adobe's
  std::vector<Component> components;
};

/// Reads the scans of a file one after the other. Each restores samples from differences to a guess by their
/// neighbours. What libjpeg-turbo 3 bears is borne as there: rows behind the end of their data are grey.
/// Throws Error.
class LosslessReader {
 public:
  /// Reads up to the first scan. `bytes` begin with JPEG's first mark.
  explicit LosslessReader(std::span<const uint8_t> bytes);

  const LosslessFrame& frame() const { return frame_; }

  /// All scans that a decoder looks at: the first, where it holds all components, or else those up to the end
  /// mark.
  void read_scans();

 private:
  struct Part;
  struct Scan;

  [[noreturn]] void fail_truncated() const;
  uint8_t next_mark();
  std::optional<std::span<const uint8_t>> segment();
  uint8_t read_to_scan();
  void take_frame(std::span<const uint8_t> data);
  void take_tables(std::span<const uint8_t> data);
  void take_application(uint8_t mark, std::span<const uint8_t> data);
  Part part_of(uint8_t id, size_t table, bool alone);
  Scan next_scan();
  std::span<const uint8_t> pixels_bytes();
  void read_scan(Scan& scan);
  void read_differences(Scan& scan, int row);
  void restore_rows(Scan& scan, int unit_row);
  void restart(Scan& scan);

  std::span<const uint8_t> bytes_;  // from where the reader stands
  size_t file_size_;
  LosslessFrame frame_;
  std::optional<JpegHuffman> tables_[4];
  int restart_interval_ = 0;  // units; 0: none
};

}  // namespace lapidary
