#include "coordinator/records/job_folder.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>

#include "configs/error.h"
#include "coordinator/dataset/item_keys.h"
#include "coordinator/records/job_description.h"
#include "coordinator/records/job_resume.h"
#include "coordinator/records/job_shards.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

JobDescription description_of(const JobOptions& options) {
  JobDescription job;
  job.format = options.format == OutputFormat::webdataset ? "webdataset" : "jsonl";
  job.fingerprint = options.fingerprint;
  job.sources = options.sources;
  return job;
}

/// Part names by the shards' numbers.
std::vector<std::string> shard_names(const JobOptions& options) {
  std::vector<std::string> names;
  if (options.format != OutputFormat::webdataset) return names;
  std::set<std::string> seen;
  for (const Shard& shard : options.shards) {
    names.push_back(part_name_of_stem(shard.stem));
    check_part_name(names.back());
    if (!seen.insert(names.back()).second) fail("two tars would both be written to ", names.back(), ".jsonl");
  }
  return names;
}

const fs::path& prepared(const fs::path& folder) {
  require_job_or_empty(folder);
  if (fs::create_directories(folder)) sync_folder(fs::absolute(folder).parent_path());
  return folder;
}

}  // namespace

struct JobFolder::Impl {
  Impl(const fs::path& folder, const JobOptions& options);

  bool sharded(const DatasetItem& item) const {
    return options.format == OutputFormat::webdataset && item.shard >= 0;
  }
  const std::string& prompt_of(const DatasetItem& item) const {
    return item.prompt ? *item.prompt : options.default_prompt;
  }
  uint64_t identity_of(const DatasetItem& item) const {
    return item.identity != 0 ? item.identity : hash_of_record(item.key, prompt_of(item));
  }
  bool take_if_done(DatasetItem& item);
  JobPart& shard_part(int64_t shard);
  JobPart& make_part(const std::string& name);
  JobPart& loose_part();
  void commit();
  void close(JobPart& part);
  void finish_complete_shards();
  void describe(bool done);

  const fs::path folder;
  const JobOptions options;
  const std::vector<std::string> names;  // of the shards' parts
  const JobLock lock;
  ItemKeys keys;
  JobDescription description;
  ResumedJob job;
  std::unique_ptr<InFlight> in_flight;
  int64_t done_before = 0;
  int64_t failed_before = 0;
  int64_t added = 0;
  int64_t added_failed = 0;
  std::unique_ptr<JobShards> shards;
  JobPart* loose = nullptr;       // what records without a tar go to
  int64_t next_loose = 0;         // number of the next such part
  std::vector<JobPart*> touched;  // they have what is not committed
};

JobFolder::Impl::Impl(const fs::path& where, const JobOptions& given)
    : folder(prepared(where)),
      options(given),
      names(shard_names(given)),
      lock(folder, options.patience),
      keys(options.only_tars),
      description(description_of(given)) {
  require_job_or_empty(folder);
  const size_t known = sources_of_job(folder).size();
  if (!read_job_description(folder, description))
    write_job_description(folder, description);
  else if (options.retry_failed && description.failed > 0)
    describe(false);
  else if (description.sources.size() > known)
    write_job_description(folder, description);
  job = resume_job(folder, names, options.retry_failed);
  in_flight = std::make_unique<InFlight>(in_flight_file(folder), options.retry_failed);
  done_before = static_cast<int64_t>(job.done.size() + job.unidentified.size());
  job.done.each_key([&](uint64_t key) { keys.add_recorded(key); });
  failed_before = job.failed;
  std::vector<bool> closed;
  for (const std::string& name : names) {
    const auto found = job.parts.find(name);
    closed.push_back(found != job.parts.end() && found->second.closed);
  }
  shards = std::make_unique<JobShards>(closed);
  const std::set<std::string> of_shards(names.begin(), names.end());
  for (auto& [name, part] : job.parts) {
    const auto number = loose_part_number(name);
    if (!number || of_shards.contains(name)) continue;
    next_loose = std::max(next_loose, *number + 1);
    if (!part.closed) loose = &part;
  }
}

void JobFolder::Impl::describe(bool done) {
  description.done = done;
  description.records = done_before + added;
  description.failed = failed_before + added_failed;
  write_job_description(folder, description);
}

JobPart& JobFolder::Impl::make_part(const std::string& name) {
  JobPart& part = job.parts[name];
  part.name = name;
  part.paths = part_paths(folder, name);
  part.start_time = now();
  return part;
}

JobPart& JobFolder::Impl::loose_part() {
  if (!loose) {
    while (std::find(names.begin(), names.end(), loose_part_name(next_loose)) != names.end()) ++next_loose;
    loose = &make_part(loose_part_name(next_loose++));
  }
  return *loose;
}

JobPart& JobFolder::Impl::shard_part(int64_t shard) {
  if (shard >= static_cast<int64_t>(names.size()))
    throw std::logic_error(cat("an item of shard ", shard, " of ", names.size()));
  const std::string& name = names[static_cast<size_t>(shard)];
  const auto found = job.parts.find(name);
  return found != job.parts.end() ? found->second : make_part(name);
}

void JobFolder::Impl::commit() {
  for (JobPart* part : touched) part->file.sync();
  for (JobPart* part : touched) {
    if (!part->in_journal) {
      part->number = job.next_number++;
      part->in_journal = true;
      job.journal.name_part(part->number, part->name, part->start_time);
    }
    job.journal.add(part->number, part->size, part->waiting);
    part->waiting.clear();
  }
  touched.clear();
  job.journal.commit();
}

/// All of it is committed.
void JobFolder::Impl::close(JobPart& part) {
  if (&part == loose) loose = nullptr;
  if (part.closed) return;
  const auto shard = std::find(names.begin(), names.end(), part.name);
  if (shard != names.end()) {
    finish_shard(part, shards->take_order(shard - names.begin()), now());
  } else if (part.size > 0) {
    part.close();
  } else {
    fs::remove(part.paths.open);
    job.parts.erase(part.name);
  }
}

void JobFolder::Impl::finish_complete_shards() {
  for (const int64_t number : shards->take_complete()) close(shard_part(number));
}

JobFolder::JobFolder(const fs::path& folder, const JobOptions& options)
    : impl_(std::make_unique<Impl>(folder, options)) {}

JobFolder::~JobFolder() = default;

int64_t JobFolder::done_before() const { return impl_->done_before; }
int64_t JobFolder::failed_before() const { return impl_->failed_before; }

bool JobFolder::Impl::take_if_done(DatasetItem& item) {
  const std::string& prompt = prompt_of(item);
  if (item.identity == 0) item.identity = hash_of_record(item.key, prompt);
  const auto key = job.done.take(item.identity);
  if (key)
    keys.keep(item, *key);
  else
    keys.name(item);
  const uint64_t hash = key ? hash_of_record(*key, prompt) : hash_of_record(item.key, prompt);
  const bool done = key || job.unidentified.take(hash);
  if (sharded(item)) shards->seen(item.shard, hash, item.index, done);
  return done;
}

bool JobFolder::take_if_done(DatasetItem& item) { return impl_->take_if_done(item); }

std::vector<fs::path> JobFolder::files() const {
  std::vector<fs::path> files;
  for (const auto& [name, part] : impl_->job.parts)
    files.push_back(part.closed ? part.paths.closed : part.paths.open);
  return files;
}

int64_t JobFolder::numbered_keys() const { return impl_->keys.numbered(); }

Suspicion JobFolder::suspicion(const DatasetItem& item) const {
  return impl_->in_flight->of(impl_->identity_of(item));
}

void JobFolder::begin(const DatasetItem& item) {
  impl_->in_flight->begin(impl_->identity_of(item), item.alone);
}

void JobFolder::end(const DatasetItem& item) { impl_->in_flight->end(impl_->identity_of(item)); }

void JobFolder::crashed() { impl_->in_flight->crashed(); }

void JobFolder::add(const DatasetItem& item, const Record& record) {
  Impl& impl = *impl_;
  const uint64_t hash = hash_of_record(record.key, record.prompt);
  if (hash != hash_of_record(item.key, impl.prompt_of(item)))
    throw std::logic_error(cat("the record of ", item.key, " has another key or prompt: ", record.key));
  if (impl.description.done) impl.describe(false);
  JobPart& part = impl.sharded(item) ? impl.shard_part(item.shard) : impl.loose_part();
  if (part.waiting.empty()) impl.touched.push_back(&part);
  part.append(to_json(record),
              {impl.identity_of(item), hash_of_key(record.key), hash | uint64_t{record.error.has_value()}});
  ++impl.added;
  impl.added_failed += record.error.has_value();
  if (impl.sharded(item)) {
    impl.shards->recorded(item.shard, hash, item.index);
  } else if (part.records >= impl.options.records_a_part) {
    impl.commit();
    impl.close(part);
  }
}

void JobFolder::end_shard(const Shard& shard) {
  if (impl_->options.format == OutputFormat::webdataset) impl_->shards->ended(shard.number, shard.items);
}

void JobFolder::commit() {
  impl_->commit();
  impl_->finish_complete_shards();
}

void JobFolder::finish(bool whole) {
  Impl& impl = *impl_;
  commit();
  if (whole) {
    std::vector<JobPart*> open;
    for (auto& [name, part] : impl.job.parts)
      if (!part.closed) open.push_back(&part);
    for (JobPart* part : open) impl.close(*part);
    impl.in_flight->remove();
  }
  if (whole ? !impl.description.done : impl.added > 0) impl.describe(whole);
}

bool names_job_folder(const fs::path& output) {
  if (output.empty()) return false;
  if (fs::exists(output)) return fs::is_directory(output);
  const fs::path extension = output.extension();
  return extension != ".jsonl" && extension != ".ndjson" && extension != ".json";
}

}  // namespace lapidary
