#include "coordinator/serve/metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

using Bounds = std::vector<double>;

const Bounds kLatencyBounds{0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                            30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
const Bounds kFirstTokenBounds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                               1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
const Bounds kBetweenTokensBounds{0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                                  0.4,    0.5,   0.75,  1,     2.5,  5,     7.5,  10,    20,  40,   80};
const Bounds kTokenBounds{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
const Bounds kChoicesBounds{1, 2, 5, 10, 20};

std::string number_text(double number) {
  if (std::isinf(number)) return number > 0 ? "+Inf" : "-Inf";
  std::array<char, 400> text{};  // of the largest double too
  return {text.data(),
          std::to_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed).ptr};
}

std::string escaped(std::string_view text, bool quotes) {
  std::string all;
  for (const char c : text) {
    if (c == '\\')
      all += "\\\\";
    else if (c == '\n')
      all += "\\n";
    else if (c == '"' && quotes)
      all += "\\\"";
    else
      all += c;
  }
  return all;
}

}  // namespace

double Metric::value(const std::string& label) const {
  const auto found = values_.find(label);
  return found == values_.end() ? 0 : found->second;
}

void Histogram::observe(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<size_t>(bound - bounds_.begin())];
  ++count_;
  sum_ += value;
}

MetricRegistry::MetricRegistry(std::vector<std::pair<std::string, std::string>> labels)
    : labels_(std::move(labels)) {}

MetricRegistry::Family& MetricRegistry::add(std::string name, std::string help, std::string type,
                                            std::string label) {
  Family& family = families_.emplace_back();
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = std::move(type);
  family.label = std::move(label);
  if (family.label.empty()) family.metric.set(0);  // it is there from the start
  return family;
}

Metric& MetricRegistry::counter(std::string name, std::string help, std::string label) {
  return add(std::move(name), std::move(help), "counter", std::move(label)).metric;
}

Metric& MetricRegistry::gauge(std::string name, std::string help, std::string label) {
  return add(std::move(name), std::move(help), "gauge", std::move(label)).metric;
}

Histogram& MetricRegistry::histogram(std::string name, std::string help, std::vector<double> bounds) {
  Histogram& histogram = add(std::move(name), std::move(help), "histogram", "").histogram;
  histogram.counts_.resize(bounds.size() + 1);
  histogram.bounds_ = std::move(bounds);
  return histogram;
}

std::string MetricRegistry::labels_with(std::string_view name, std::string_view value) const {
  std::string text;
  const auto add_one = [&](std::string_view label, std::string_view with) {
    text += cat(text.empty() ? "{" : ",", label, "=\"", escaped(with, true), "\"");
  };
  for (const auto& [label, with] : labels_) add_one(label, with);
  if (!name.empty()) add_one(name, value);
  return text.empty() ? text : text + "}";
}

std::string MetricRegistry::text(std::string_view prefix) const {
  std::string text;
  for (const Family& family : families_) {
    const std::string name = cat(prefix, family.name);
    text += cat("# HELP ", name, " ", escaped(family.help, false), "\n# TYPE ", name, " ", family.type, "\n");
    if (family.type != "histogram") {
      for (const auto& [label, value] : family.metric.values_)
        text += cat(name, labels_with(family.label, label), " ", number_text(value), "\n");
      continue;
    }
    const Histogram& histogram = family.histogram;
    uint64_t so_far = 0;
    for (size_t i = 0; i < histogram.counts_.size(); ++i) {
      so_far += histogram.counts_[i];
      const double bound = i < histogram.bounds_.size() ? histogram.bounds_[i] : INFINITY;
      text += cat(name, "_bucket", labels_with("le", number_text(bound)), " ", so_far, "\n");
    }
    text += cat(name, "_sum", labels_with("", ""), " ", number_text(histogram.sum_), "\n");
    text += cat(name, "_count", labels_with("", ""), " ", histogram.count_, "\n");
  }
  return text;
}

ServeMetrics::ServeMetrics(const std::string& model_name)
    : registry_({{"model_name", model_name}, {"engine", "0"}}),
      running_(registry_.gauge("num_requests_running", "Requests whose tokens are being made.")),
      waiting_(registry_.gauge("num_requests_waiting", "Requests that wait.")),
      kv_usage_(registry_.gauge("kv_cache_usage_perc", "Share of the KV pages that is taken; 1: all.")),
      prompt_tokens_(registry_.counter("prompt_tokens_total", "Tokens of prompts, with those of images.")),
      cached_tokens_(registry_.counter("prompt_tokens_cached_total",
                                       "Tokens of images whose embeddings were there already.")),
      generation_tokens_(registry_.counter("generation_tokens_total", "Tokens made.")),
      success_(registry_.counter("request_success_total", "Requests that ended, by how.", "finished_reason")),
      images_(registry_.counter("images_total", "Images of requests.")),
      cache_queries_(registry_.counter("mm_cache_queries_total", "Images looked for in the encoder cache.")),
      cache_hits_(registry_.counter("mm_cache_hits_total", "Of which were there, or on their way.")),
      refused_(
          registry_.counter("admission_rejections_total", "Requests that were not taken, by why.", "reason")),
      restarts_(registry_.counter("replica_restarts_total", "Times that a replica was lost.")),
      encode_seconds_(registry_.counter("vision_encode_seconds_total", "Time of vision lanes in the tower.")),
      sum_seconds_(registry_.counter("all_reduce_seconds_total", "Time of ranks in collectives.")),
      step_seconds_(registry_.counter("step_seconds_total", "Time of ranks in steps.")),
      image_bytes_(registry_.gauge("image_bytes", "Bytes that ranks hold of pictures, by rank.", "rank")),
      ttft_(registry_.histogram("time_to_first_token_seconds", "From a request's arrival to its first token.",
                                kFirstTokenBounds)),
      itl_(registry_.histogram("inter_token_latency_seconds", "Between two tokens of a request.",
                               kBetweenTokensBounds)),
      latency_(registry_.histogram("e2e_request_latency_seconds", "From a request's arrival to its end.",
                                   kLatencyBounds)),
      prompt_length_(
          registry_.histogram("request_prompt_tokens", "Tokens of a request's prompt.", kTokenBounds)),
      generation_length_(
          registry_.histogram("request_generation_tokens", "Tokens made for a request.", kTokenBounds)),
      n_(registry_.histogram("request_params_n", "Choices that a request asks for.", kChoicesBounds)) {}

void ServeMetrics::token(bool first, double seconds) {
  (first ? ttft_ : itl_).observe(seconds);
  generation_tokens_.add(1);
}

void ServeMetrics::ended(std::string_view reason, double seconds, int64_t prompt_tokens,
                         int64_t cached_tokens, int64_t generation_tokens, int64_t images, int64_t n) {
  success_.add(1, std::string(reason));
  latency_.observe(seconds);
  prompt_tokens_.add(static_cast<double>(prompt_tokens));
  cached_tokens_.add(static_cast<double>(cached_tokens));
  prompt_length_.observe(static_cast<double>(prompt_tokens));
  generation_length_.observe(static_cast<double>(generation_tokens));
  images_.add(static_cast<double>(images));
  n_.observe(static_cast<double>(n));
}

/// Sums of a rank only grow; less is a process that has taken its place.
void ServeMetrics::beat(int replica, int rank, const wire::Heartbeat& beat) {
  std::vector<int64_t>& before = busy_[{replica, rank}];
  before.resize(wire::Span::Kind_ARRAYSIZE);
  const auto grown = [&](wire::Span::Kind kind) {
    if (kind >= beat.busy_size()) return 0.0;
    int64_t& last = before[static_cast<size_t>(kind)];
    const int64_t now = beat.busy(kind), more = now >= last ? now - last : now;
    last = now;
    return static_cast<double>(more) * 1e-9;
  };
  encode_seconds_.add(grown(wire::Span::ENCODE));
  sum_seconds_.add(grown(wire::Span::SUM));
  step_seconds_.add(grown(wire::Span::STEP));
  image_bytes_.set(static_cast<double>(beat.image_bytes()), cat(replica, ".", rank));
}

std::string ServeMetrics::text(std::string_view prefix, const EngineStatus& status, size_t unfinished) {
  size_t running = 0, free_pages = 0;
  int64_t pages = 0;
  double encodes = 0, shared = 0;
  for (const ReplicaStatus& replica : status.replicas) {
    running += replica.counts.running;
    free_pages += replica.counts.free_pages;
    pages += replica.capacity.num_kv_pages();
    encodes += static_cast<double>(replica.counts.encodes);
    shared += static_cast<double>(replica.counts.shared);
  }
  running_.set(static_cast<double>(running));
  waiting_.set(static_cast<double>(unfinished - std::min(unfinished, running)));
  kv_usage_.set(pages > 0 ? 1 - static_cast<double>(free_pages) / static_cast<double>(pages) : 0);
  cache_queries_.set(std::max(cache_queries_.value(), encodes + shared));  // a replica anew begins at zero
  cache_hits_.set(std::max(cache_hits_.value(), shared));
  return registry_.text(prefix);
}

}  // namespace lapidary
