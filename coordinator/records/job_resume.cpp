#include "coordinator/records/job_resume.h"

#include <sys/stat.h>

#include <numeric>
#include <set>
#include <unordered_map>

#include "configs/error.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

constexpr const char* kJournal = ".journal";
constexpr size_t kChunk = 4 << 20;  // of a journal that is written anew

class Resume {
 public:
  Resume(const fs::path& folder, const std::vector<std::string>& shards, bool retry_failed)
      : folder_(folder), shards_(shards.begin(), shards.end()), retry_failed_(retry_failed) {}

  ResumedJob run();

 private:
  void find(const std::string& name);
  void find_parts();
  void judge();
  bool trusted(const JobPart& part, const JournalPart& told) const;
  void begin_journal();
  void load_trusted();
  [[noreturn]] void refuse(const JobPart& part) const;
  void take_tail(JobPart& part, int64_t end);
  void scan(JobPart& part, int64_t from);
  void note(const JournalMark& mark);
  void read_whole(JobPart& part);
  void remove_empty();
  void name_in_journal(JobPart& part);
  bool loose(const std::string& name) const { return loose_part_number(name) && !shards_.contains(name); }

  const fs::path folder_;
  const std::set<std::string> shards_;
  const bool retry_failed_;
  JournalSummary told_;
  std::vector<JobPart*> of_number_;  // in the journal that was found; none: its entries do not count
  std::unordered_map<uint64_t, JournalMark>
      told_of_;        // by hash_of_record: entries that do not count for their part
  bool anew_ = false;  // the journal contradicts the parts
  ResumedJob job_;
};

void Resume::find(const std::string& name) {
  if (job_.parts.contains(name)) return;
  JobPart part;
  part.name = name;
  part.paths = part_paths(folder_, name);
  std::error_code ignored;
  for (const fs::path& file : {part.paths.open, part.paths.closed, part.paths.stats})
    fs::remove(temporary_beside(file), ignored);
  part.closed = fs::exists(part.paths.closed);
  const bool open = fs::exists(part.paths.open);
  if (!open && !part.closed) return;
  if (open && part.closed)
    fail(folder_.string(), " holds both ", part.paths.closed.filename().string(), " and ",
         part.paths.open.filename().string(), "; one of them must go");
  struct stat info {};
  const fs::path& file = open ? part.paths.open : part.paths.closed;
  if (::stat(file.c_str(), &info) != 0) fail("cannot read ", file.string());
  part.size = info.st_size;
  part.start_time = static_cast<double>(info.st_mtime);
  job_.parts.emplace(name, std::move(part));
}

void Resume::find_parts() {
  for (const auto& entry : fs::directory_iterator(folder_)) {
    std::string name = entry.path().filename().string();
    const bool open = name.starts_with(".") && name.ends_with(".jsonl.open");
    if (open) name = name.substr(1, name.size() - 6);
    if (!name.ends_with(".jsonl")) continue;
    name.resize(name.size() - 6);
    // Other files are somebody's own: two parts joined, say.
    if (loose_part_number(name)) find(name);
  }
  for (const std::string& name : shards_) find(name);
  for (const JournalPart& part : told_.parts) find(part.name);
}

bool Resume::trusted(const JobPart& part, const JournalPart& told) const {
  if (part.closed ? part.size != told.end : part.size < told.end) return false;
  return !retry_failed_ || (told.failed == 0 && part.size == told.end);
}

/// Which of the journal's entries count.
void Resume::judge() {
  of_number_.assign(told_.parts.size(), nullptr);
  for (const JournalPart& told : told_.parts) {
    const auto found = job_.parts.find(told.name);
    const bool known = found != job_.parts.end() && !found->second.in_journal;
    if (!known || !trusted(found->second, told)) {
      anew_ = true;
      continue;
    }
    JobPart& part = found->second;
    of_number_[told.number] = &part;
    part.in_journal = true;
    part.number = told.number;
    part.start_time = told.start_time;
    part.records = told.records;
    part.failed = told.failed;
  }
}

void Resume::begin_journal() {
  const fs::path journal = folder_ / kJournal;
  job_.journal = JournalWriter(anew_ ? temporary_beside(journal) : journal, anew_ ? 0 : told_.sound);
  job_.next_number = anew_ ? 0 : static_cast<uint32_t>(told_.parts.size());
  if (!anew_) return;
  for (JobPart* part : of_number_)
    if (part) name_in_journal(*part);
}

void Resume::name_in_journal(JobPart& part) {
  part.in_journal = true;
  part.number = job_.next_number++;
  job_.journal.name_part(part.number, part.name, part.start_time);
}

void Resume::load_trusted() {
  job_.done.reserve(std::accumulate(
      of_number_.begin(), of_number_.end(), size_t{0},
      [](size_t sum, JobPart* part) { return sum + (part ? static_cast<size_t>(part->records) : 0); }));
  each_journal_entry(folder_ / kJournal, told_.sound,
                     [&](uint32_t number, std::span<const JournalMark> marks) {
                       JobPart* part = of_number_[number];
                       if (!part)
                         for (const JournalMark& mark : marks) told_of_[mark.record_hash()] = mark;
                       if (!part) return;
                       for (const JournalMark& mark : marks) note(mark);
                       if (!anew_) return;
                       job_.journal.add(part->number, told_.parts[number].end, marks);
                       if (job_.journal.waiting() > kChunk) job_.journal.commit();
                     });
}

/// A death tears no finished part: somebody has edited it, and what follows the line is worth keeping.
void Resume::refuse(const JobPart& part) const {
  int64_t lines = 1;
  scan_part(part.paths.closed, 0, [&](const RecordLine&, std::string_view) { ++lines; });
  fail(part.paths.closed.string(), ", line ", lines,
       ": no record; take the line out, or remove the file to have all its records made again");
}

void Resume::note(const JournalMark& mark) {
  if (mark.item != 0)
    job_.done.add(mark.item, mark.key);
  else
    job_.unidentified.add(mark.record_hash(), mark.key);
}

/// Behind what the journal has lie records of which it does not say whose they are: they are made again.
/// Where the journal itself was torn there may be many, and they are read.
void Resume::take_tail(JobPart& part, int64_t end) {
  if (part.closed || part.size == end) return;
  if (told_.torn) return scan(part, end);
  DurableFile out(part.paths.open, DurableFile::Open::existing);
  out.truncate(end);
  out.sync();
  part.size = end;
}

/// Reads a part for which the journal does not count, cuts what is no record, and tells the journal.
void Resume::scan(JobPart& part, int64_t from) {
  if (from == part.size) return;
  const fs::path& file = part.closed ? part.paths.closed : part.paths.open;
  std::vector<JournalMark> marks;
  const int64_t sound = scan_part(file, from, [&](const RecordLine& record, std::string_view) {
    const auto told = told_of_.find(record.hash);
    JournalMark& mark = marks.emplace_back();
    mark = {told != told_of_.end() ? told->second.item : 0, record.key,
            record.hash | uint64_t{record.error.has_value()}};
    note(mark);
    ++part.records;
    part.failed += record.error.has_value();
  });
  if (part.closed && sound != part.size) refuse(part);
  DurableFile out(file, DurableFile::Open::existing);
  if (out.size() != sound) out.truncate(sound);
  out.sync();
  part.size = sound;
  if (!part.in_journal) name_in_journal(part);
  job_.journal.add(part.number, part.size, marks);
  job_.journal.commit();
}

/// A part whose journal does not count, or that has none.
void Resume::read_whole(JobPart& part) {
  if (retry_failed_) {
    if (part.closed &&
        scan_part(part.paths.closed, 0, [](const RecordLine&, std::string_view) {}) != part.size)
      refuse(part);
    if (part.closed && !loose(part.name)) part.reopen();
    const fs::path& file = part.closed ? part.paths.closed : part.paths.open;
    drop_failed(file);
    part.size = static_cast<int64_t>(fs::file_size(file));
  }
  scan(part, 0);
}

void Resume::remove_empty() {
  std::erase_if(job_.parts, [&](const auto& entry) {
    const JobPart& part = entry.second;
    if (!part.closed || part.size > 0 || !loose(part.name)) return false;
    fs::remove(part.paths.closed);
    return true;
  });
}

ResumedJob Resume::run() {
  const fs::path journal = folder_ / kJournal;
  told_ = read_journal(journal);
  find_parts();
  judge();
  begin_journal();
  load_trusted();
  for (const JournalPart& told : told_.parts)
    if (JobPart* part = of_number_[told.number]) take_tail(*part, told.end);
  for (auto& [name, part] : job_.parts)
    if (!part.in_journal)
      part.closed || told_.torn || told_.sound == 0 ? read_whole(part) : take_tail(part, 0);
  if (anew_) {
    job_.journal.commit();
    rename_durably(temporary_beside(journal), journal);
    job_.journal = JournalWriter(journal, job_.journal.size());
  }
  remove_empty();
  for (const auto& [name, part] : job_.parts) job_.failed += part.failed;
  job_.done.seal();
  job_.unidentified.seal();
  return std::move(job_);
}

}  // namespace

ResumedJob resume_job(const fs::path& folder, const std::vector<std::string>& shards, bool retry_failed) {
  return Resume(folder, shards, retry_failed).run();
}

}  // namespace lapidary
