#pragma once

#include <string_view>

#include "coordinator/dataset/input_lines.h"
#include "coordinator/dataset/input_source.h"

namespace lapidary {

/// Reads one line of a manifest; relative paths of images start at `folder`, and `label` begins the keys made
/// of such. Errors begin with `where`.
SourceItem parse_manifest_line(std::string_view line, const std::string& folder, const std::string& where,
                               const std::string& label = "");

/// The lines of a JSONL manifest, or, where `path` is "-", of the list on standard input, in which a line
/// that does not begin with { is a path.
class ManifestReader : public SourceReader {
 public:
  explicit ManifestReader(const std::string& path, const std::string& label = "",
                          const std::atomic<bool>* cancelled = nullptr);
  std::optional<SourceItem> next() override;

 private:
  SourceItem parse(std::string_view line) const;

  const std::string path_;
  const std::string label_;
  const std::string folder_;
  LineReader lines_;
  bool ended_ = false;
};

/// Whether the file's first line says that it is one JSON list: the lines that follow are none of a manifest.
bool is_json_list(std::string_view line, int64_t number);

/// Throws where one of the first `lines` lines is no line of a manifest, or where there is none at all. How
/// many it has read.
int64_t check_manifest(const std::string& path, int64_t lines);

}  // namespace lapidary
