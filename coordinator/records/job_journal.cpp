#include "coordinator/records/job_journal.h"

#include <xxhash.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>
#include <fstream>

#include "coordinator/dataset/item_keys.h"
#include "coordinator/text/json_text.h"
#include "coordinator/text/utf8.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

// Numbers are in this machine's byte order: a journal from another does not pass, and the records are read.
constexpr std::string_view kMagic = "lapidary journal 2\n";
enum class Kind : uint8_t { name = 1, records = 2 };

struct Head {
  uint64_t checksum;
  uint32_t length;
  uint32_t zero;
};

template <class T>
void put(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <class T>
bool take(std::string_view& bytes, T& value) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

struct Entry {
  Kind kind{};
  uint32_t number = 0;
  double start_time = 0;
  int64_t end = 0;
  std::string_view rest;  // the name, or the marks
};

bool parse(std::string_view payload, Entry& entry) {
  if (!take(payload, entry.kind) || !take(payload, entry.number)) return false;
  if (entry.kind == Kind::name ? !take(payload, entry.start_time) : !take(payload, entry.end)) return false;
  entry.rest = payload;
  return entry.kind == Kind::name ||
         (entry.kind == Kind::records && payload.size() % sizeof(JournalMark) == 0);
}

/// Gives the sound entries one after another.
class Reader {
 public:
  explicit Reader(const fs::path& file) : in_(file, std::ios::binary), buffer_(1 << 20) {
    in_.rdbuf()->pubsetbuf(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    std::error_code ignored;
    const auto size = fs::file_size(file, ignored);
    if (!ignored) size_ = static_cast<int64_t>(size);
    std::string magic(kMagic.size(), 0);
    if (read(magic.data(), magic.size()) && magic == kMagic) sound_ = static_cast<int64_t>(magic.size());
  }

  bool next(Entry& entry) {
    Head head{};
    if (sound_ == 0 || !read(&head, sizeof(head)) || head.zero != 0) return false;
    if (head.length > size_ - sound_) return false;  // what is torn may ask for any memory
    payload_.resize(head.length);
    if (!read(payload_.data(), head.length)) return false;
    if (XXH3_64bits(payload_.data(), payload_.size()) != head.checksum || !parse(payload_, entry))
      return false;
    sound_ += static_cast<int64_t>(sizeof(head) + head.length);
    return true;
  }

  int64_t sound() const { return sound_; }

 private:
  bool read(void* to, size_t bytes) {
    in_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    return in_.gcount() == static_cast<std::streamsize>(bytes);
  }

  std::ifstream in_;
  std::vector<char> buffer_;
  std::string payload_;
  int64_t size_ = 0;
  int64_t sound_ = 0;
};

std::vector<JournalMark> marks_of(std::string_view bytes) {
  std::vector<JournalMark> marks(bytes.size() / sizeof(JournalMark));
  if (!marks.empty()) std::memcpy(marks.data(), bytes.data(), bytes.size());
  return marks;
}

/// False where the entry contradicts those before it.
bool note(const Entry& entry, std::vector<JournalPart>& parts) {
  if (entry.kind == Kind::name) {
    if (entry.number != parts.size()) return false;
    parts.push_back({entry.number, std::string(entry.rest), entry.start_time, 0, 0, 0});
    return true;
  }
  if (entry.number >= parts.size() || entry.end < parts[entry.number].end) return false;
  JournalPart& part = parts[entry.number];
  part.end = entry.end;
  for (const JournalMark& mark : marks_of(entry.rest)) {
    ++part.records;
    part.failed += mark.failed();
  }
  return true;
}

void add_as_written(std::string& bytes, std::string_view text) {
  const auto ascii = [](char c) { return static_cast<signed char>(c) >= 0; };
  if (std::all_of(text.begin(), text.end(), ascii) || !invalid_utf8(text))
    bytes += text;
  else
    bytes += boost::json::parse(json_string(text)).as_string();
}

}  // namespace

uint64_t hash_of_record(uint64_t key_hash, std::string_view prompt) {
  std::string bytes;
  put(bytes, key_hash);
  add_as_written(bytes, prompt);
  return XXH3_64bits(bytes.data(), bytes.size()) & ~uint64_t{1};
}

uint64_t hash_of_record(std::string_view key, std::string_view prompt) {
  std::string as_written;
  add_as_written(as_written, key);
  return hash_of_record(hash_of_key(as_written), prompt);
}

JournalWriter::JournalWriter(const fs::path& file, int64_t size)
    : file_(file, size > 0 ? DurableFile::Open::existing : DurableFile::Open::truncated) {
  if (file_.size() > size) file_.truncate(size);
  if (size == 0) waiting_ = kMagic;
}

void JournalWriter::entry(std::string_view payload) {
  put(waiting_, Head{XXH3_64bits(payload.data(), payload.size()), static_cast<uint32_t>(payload.size()), 0});
  waiting_ += payload;
}

void JournalWriter::name_part(uint32_t number, std::string_view name, double start_time) {
  std::string payload;
  put(payload, Kind::name);
  put(payload, number);
  put(payload, start_time);
  payload += name;
  entry(payload);
}

void JournalWriter::add(uint32_t number, int64_t end, std::span<const JournalMark> marks) {
  std::string payload;
  put(payload, Kind::records);
  put(payload, number);
  put(payload, end);
  payload.append(reinterpret_cast<const char*>(marks.data()), marks.size_bytes());
  entry(payload);
}

void JournalWriter::commit() {
  if (waiting_.empty()) return;
  file_.append(waiting_);
  waiting_.clear();
  file_.sync();
}

JournalSummary read_journal(const fs::path& file) {
  JournalSummary summary;
  Reader reader(file);
  Entry entry;
  summary.sound = reader.sound();
  while (reader.next(entry) && note(entry, summary.parts)) summary.sound = reader.sound();
  std::error_code ignored;
  const auto size = fs::file_size(file, ignored);
  summary.torn = !ignored && static_cast<int64_t>(size) != summary.sound;
  return summary;
}

void each_journal_entry(const fs::path& file, int64_t sound,
                        const std::function<void(uint32_t, std::span<const JournalMark>)>& each) {
  Reader reader(file);
  Entry entry;
  while (reader.sound() < sound && reader.next(entry))
    if (entry.kind == Kind::records) each(entry.number, marks_of(entry.rest));
}

}  // namespace lapidary
