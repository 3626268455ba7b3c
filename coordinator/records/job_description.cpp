#include "coordinator/records/job_description.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

#include "configs/error.h"
#include "coordinator/records/file_lock.h"
#include "coordinator/text/json_text.h"

namespace lapidary {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

constexpr int64_t kVersion = 2;  // 1 had keys that were not unique
constexpr const char* kName = "job.json";
constexpr const char* kLockName = ".lock";

std::string process_in(int fd) {
  char text[32] = {};
  const ssize_t n = ::pread(fd, text, sizeof(text) - 1, 0);
  return n > 0 ? cat(" (process ", text, ")") : "";
}

/// "prompt" in the sentence of a mismatch, with its value or the lack of it.
std::string named(const std::string& field, const std::optional<std::string>& value) {
  return value ? field + " " + json_string(*value) : "no " + field;
}

void require_same(const fs::path& folder, const std::string& field, const std::optional<std::string>& made,
                  const std::optional<std::string>& wanted) {
  // As text in JSON: what was made is known only so.
  if (made.has_value() == wanted.has_value() && (!made || json_string(*made) == json_string(*wanted))) return;
  const std::string other = made && wanted ? json_string(*wanted) : named(field, wanted);
  fail(folder.string(), " was made with ", named(field, made), ", not ", made && wanted ? "" : "with ", other,
       "; use another --output");
}

template <class Fields>
std::optional<std::string> value_of(const Fields& fields, const std::string& name) {
  for (const auto& [field, value] : fields)
    if (field == name) return value;
  return std::nullopt;
}

void require_same_fingerprint(const fs::path& folder, const JobDescription& made,
                              const JobDescription& wanted) {
  require_same(folder, "output format", made.format, wanted.format);
  for (const auto& [field, value] : wanted.fingerprint)
    require_same(folder, field, value_of(made.fingerprint, field), value);
  for (const auto& [field, value] : made.fingerprint)
    require_same(folder, field, value, value_of(wanted.fingerprint, field));
}

JobDescription parse(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    const json::object object = json::parse(text).as_object();
    const int64_t version = object.at("version").to_number<int64_t>();
    if (version != kVersion)
      fail(file.string(), " is of version ", version, "; this program knows version ", kVersion,
           ": use another --output, or the program that began the job");
    JobDescription job;
    job.format = json::value_to<std::string>(object.at("format"));
    for (const auto& field : object.at("fingerprint").as_object())
      job.fingerprint.emplace_back(field.key(), json::value_to<std::string>(field.value()));
    for (const json::value& source : object.at("sources").as_array()) {
      const auto of = [&](const char* field) { return json::value_to<std::string>(source.at(field)); };
      job.sources.push_back({of("path"), of("absolute"), of("label")});
    }
    job.done = object.at("state").as_string() == "done";
    job.records = object.at("records").to_number<int64_t>();
    job.failed = object.at("failed").to_number<int64_t>();
    return job;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    fail(file.string(), " does not describe a job: ", e.what());
  }
}

std::vector<LabelledSource> joined(std::vector<LabelledSource> sources,
                                   const std::vector<LabelledSource>& more) {
  std::set<std::string> known;
  for (const LabelledSource& source : sources) known.insert(source.absolute);
  for (const LabelledSource& source : more)
    if (known.insert(source.absolute).second) sources.push_back(source);
  return sources;
}

}  // namespace

JobLock::JobLock(const fs::path& folder, double patience) {
  const fs::path file = folder / kLockName;
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("cannot write to ", file.string(), ": ", std::strerror(errno));
  if (!lock_within(fd_, patience)) {
    const int error = errno;
    const std::string process = process_in(fd_);
    ::close(fd_);
    if (error == EWOULDBLOCK)
      fail(folder.string(), ": another run", process, " works on it, and has not ended within ", patience,
           " s; ", kOneOfSeveral);
    fail("cannot lock ", file.string(), ": ", std::strerror(error));
  }
  // Only said to people: a full disk does not matter here.
  const std::string process = std::to_string(::getpid());
  if (::ftruncate(fd_, 0) == 0) [[maybe_unused]]
    const ssize_t written = ::pwrite(fd_, process.data(), process.size(), 0);
}

JobLock::~JobLock() { ::close(fd_); }

void require_job_or_empty(const fs::path& folder) {
  if (!fs::exists(folder)) return;
  if (!fs::is_directory(folder)) fail(folder.string(), " is no folder");
  if (fs::exists(folder / kName)) return;
  // A run that died at its very start leaves these.
  const fs::path temporary = temporary_beside(kName);
  for (const auto& entry : fs::directory_iterator(folder))
    if (const fs::path name = entry.path().filename(); name != kLockName && name != temporary)
      fail(folder.string(), " holds files (", name.string(), ") and no job; use another --output");
}

bool read_job_description(const fs::path& folder, JobDescription& wanted) {
  if (!fs::exists(folder / kName)) return false;
  const JobDescription made = parse(folder / kName);
  require_same_fingerprint(folder, made, wanted);
  wanted.sources = joined(made.sources, wanted.sources);
  wanted.done = made.done;
  wanted.records = made.records;
  wanted.failed = made.failed;
  return true;
}

std::vector<LabelledSource> sources_of_job(const fs::path& folder) {
  return fs::exists(folder / kName) ? parse(folder / kName).sources : std::vector<LabelledSource>{};
}

void write_job_description(const fs::path& folder, const JobDescription& job) {
  std::string text = cat("{\n  \"version\": ", kVersion, ",\n  \"format\": ", json_string(job.format),
                         ",\n  \"fingerprint\": {");
  const char* separator = "\n    ";
  for (const auto& [field, value] : job.fingerprint) {
    text += separator + json_string(field) + ": " + json_string(value);
    separator = ",\n    ";
  }
  text += "\n  },\n  \"sources\": [";
  separator = "\n    ";
  for (const LabelledSource& source : job.sources) {
    text += cat(separator, "{\"path\": ", json_string(source.path),
                ", \"absolute\": ", json_string(source.absolute), ", \"label\": ", json_string(source.label),
                "}");
    separator = ",\n    ";
  }
  text += cat("\n  ],\n  \"state\": \"", job.done ? "done" : "running", "\",\n  \"records\": ", job.records,
              ",\n  \"failed\": ", job.failed, "\n}\n");
  write_durably(folder / kName, text);
}

}  // namespace lapidary
