#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/serve/engine/engine_client.h"

namespace lapidary {

/// A number of Prometheus's, or one for each value of a label.
class Metric {
 public:
  void add(double amount, const std::string& label = {}) { values_[label] += amount; }
  void set(double value, const std::string& label = {}) { values_[label] = value; }
  double value(const std::string& label = {}) const;

 private:
  friend class MetricRegistry;
  std::map<std::string, double> values_;
};

/// How often what was observed was at most each bound.
class Histogram {
 public:
  void observe(double value);
  uint64_t count() const { return count_; }

 private:
  friend class MetricRegistry;
  std::vector<double> bounds_;
  std::vector<uint64_t> counts_;  // one more than bounds
  uint64_t count_ = 0;
  double sum_ = 0;
};

/// Metrics by their names, in Prometheus's text format (0.0.4).
class MetricRegistry {
 public:
  /// Labels that all have: "model_name", "engine".
  explicit MetricRegistry(std::vector<std::pair<std::string, std::string>> labels);

  /// `name` without prefix; of a counter it ends in "_total". `label`: the name of its own; "": it has none.
  Metric& counter(std::string name, std::string help, std::string label = "");
  Metric& gauge(std::string name, std::string help, std::string label = "");
  Histogram& histogram(std::string name, std::string help, std::vector<double> bounds);

  std::string text(std::string_view prefix) const;

 private:
  struct Family {
    std::string name, help, type, label;
    Metric metric;
    Histogram histogram;
  };
  Family& add(std::string name, std::string help, std::string type, std::string label);
  std::string labels_with(std::string_view name, std::string_view value) const;

  std::vector<std::pair<std::string, std::string>> labels_;
  std::deque<Family> families_;  // never moved
};

/// What the server counts, by vLLM's names, with vLLM's bounds and finer ones for the time between tokens. On
/// the server's thread.
class ServeMetrics {
 public:
  explicit ServeMetrics(const std::string& model_name);

  void token(bool first, double seconds);
  void ended(std::string_view reason, double seconds, int64_t prompt_tokens, int64_t cached_tokens,
             int64_t generation_tokens, int64_t images, int64_t n);
  void refused(std::string_view reason) { refused_.add(1, std::string(reason)); }
  void replica_lost() { restarts_.add(1); }
  void beat(int replica, int rank, const wire::Heartbeat& beat);
  /// Gauges are as the engine says now.
  std::string text(std::string_view prefix, const EngineStatus& status, size_t unfinished);

 private:
  MetricRegistry registry_;
  Metric &running_, &waiting_, &kv_usage_, &prompt_tokens_, &cached_tokens_, &generation_tokens_, &success_,
      &images_, &cache_queries_, &cache_hits_, &refused_, &restarts_, &encode_seconds_, &sum_seconds_,
      &step_seconds_, &image_bytes_;
  Histogram &ttft_, &itl_, &latency_, &prompt_length_, &generation_length_, &n_;
  std::map<std::pair<int, int>, std::vector<int64_t>> busy_;  // of each rank, at its last heartbeat
};

}  // namespace lapidary
