#include "coordinator/records/job_part.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <climits>
#include <cstdio>
#include <fstream>

#include "configs/error.h"
#include "coordinator/dataset/item_keys.h"

namespace lapidary {
namespace fs = std::filesystem;

PartPaths part_paths(const fs::path& folder, const std::string& name) {
  const fs::path base = folder / name;
  const std::string last = base.filename().string();
  return {base.parent_path() / ("." + last + ".jsonl.open"), base.parent_path() / (last + ".jsonl"),
          base.parent_path() / (last + "_stats.json")};
}

std::string loose_part_name(int64_t number) {
  char text[32];
  std::snprintf(text, sizeof(text), "part-%05lld", static_cast<long long>(number));
  return text;
}

std::optional<int64_t> loose_part_number(std::string_view name) {
  constexpr std::string_view kPrefix = "part-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t number = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number);
  if (number < 0 || loose_part_name(number) != name) return std::nullopt;
  return number;
}

std::string part_name_of_stem(const std::string& stem) {
  fs::path name;
  for (const fs::path& folder : fs::path(stem).relative_path())
    if (folder == "..")
      name /= "__";
    else if (folder != "." && !folder.empty())
      name /= folder;
  return name.string();
}

void check_part_name(const std::string& name) {
  // The longest of all: its stats while they are written.
  const size_t more = temporary_beside("_stats.json").string().size();
  for (const fs::path& word : fs::path(name)) {
    const size_t most = NAME_MAX - more;
    if (word.string().size() > most)
      fail("a tar's name without its extension has ", word.string().size(), " bytes, at most ", most,
           " fit into the names of its records' files (webdataset): ", word.string(),
           "; rename it, or use --output-format jsonl");
  }
}

std::optional<RecordLine> parse_record_line(std::string_view line) {
  boost::system::error_code bad;
  const boost::json::value value = boost::json::parse(line, bad);
  if (bad || !value.is_object()) return std::nullopt;
  const boost::json::object& object = value.get_object();
  const auto text = [&](const char* field) -> const boost::json::string* {
    const boost::json::value* found = object.if_contains(field);
    return found ? found->if_string() : nullptr;
  };
  const auto *key = text("key"), *prompt = text("prompt"), *status = text("status");
  if (!key || !prompt || !status) return std::nullopt;
  RecordLine record{hash_of_record(*key, *prompt), hash_of_key(*key), std::nullopt, 0};
  if (*status != "ok") record.error = text("error") ? std::string(*text("error")) : std::string(*status);
  if (const auto* ids = object.if_contains("token_ids"); ids && ids->is_array())
    record.tokens = static_cast<int64_t>(ids->get_array().size());
  return record;
}

int64_t scan_part(const fs::path& file, int64_t from,
                  const std::function<void(const RecordLine&, std::string_view)>& each) {
  std::ifstream in(file, std::ios::binary);
  if (!in) fail("cannot read ", file.string());
  in.seekg(from);
  int64_t sound = from;
  // A line without its end was being written.
  for (std::string line; std::getline(in, line) && !in.eof();) {
    const auto record = parse_record_line(line);
    if (!record) break;
    each(*record, line);
    sound += static_cast<int64_t>(line.size()) + 1;
  }
  if (in.bad()) fail("cannot read ", file.string());
  return sound;
}

void drop_failed(const fs::path& file) {
  constexpr size_t kChunk = 1 << 20;
  const fs::path temporary = temporary_beside(file);
  DurableFile out(temporary, DurableFile::Open::truncated);
  bool found = false;
  std::string chunk;
  scan_part(file, 0, [&](const RecordLine& record, std::string_view line) {
    found = found || record.error;
    if (!record.error) (chunk += line) += '\n';
    if (chunk.size() < kChunk) return;
    out.append(chunk);
    chunk.clear();
  });
  out.append(chunk);
  out.sync();
  if (found)
    rename_durably(temporary, file);
  else
    fs::remove(temporary);
}

void JobPart::reopen() {
  if (!closed) return;
  rename_durably(paths.closed, paths.open);
  closed = false;
  std::error_code ignored;
  fs::remove(paths.stats, ignored);  // they are made again with the last record
}

void JobPart::open() {
  if (file.is_open()) return;
  reopen();
  const bool made = !fs::exists(paths.open);
  if (made) fs::create_directories(paths.open.parent_path());
  file = DurableFile(paths.open, DurableFile::Open::existing);
  // Behind what is known lies what a failed write could not take back.
  if (file.size() > size) file.truncate(size);
  if (!made) return;
  // The folders of a name like "cats/00012" may be new too.
  fs::path folder = paths.open.parent_path();
  for (const auto& level : fs::path(name)) {
    sync_folder(folder);
    if (!level.empty()) folder = folder.parent_path();
  }
}

void JobPart::append(std::string_view line, const JournalMark& mark) {
  open();
  file.append(std::string(line) + '\n');
  size = file.size();
  ++records;
  failed += mark.failed();
  waiting.push_back(mark);
}

void JobPart::close() {
  if (closed) return;
  open();
  file.sync();
  file.close();
  rename_durably(paths.open, paths.closed);
  closed = true;
}

}  // namespace lapidary
