#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <fstream>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/cli/option_table.h"
#include "coordinator/cli/replicas.h"
#include "coordinator/cli/serve_options.h"
#include "coordinator/cli/sinks/mask_maker.h"
#include "coordinator/cli/worker.h"
#include "coordinator/fleet/host_addresses.h"
#include "coordinator/fleet/stop_signal.h"
#include "coordinator/fleet/token.h"
#include "coordinator/serve/api_server.h"
#include "coordinator/serve/engine/fake_engine.h"
#include "coordinator/serve/engine/fleet_engine.h"
#include "coordinator/telemetry/messages.h"
#include "coordinator/telemetry/progress.h"
#include "sharding/comm/launch_environment.h"

namespace lapidary {
namespace {

constexpr std::string_view kFake = "fake:";

/// A key a line; empty lines and those that begin with # are passed over.
std::vector<std::string> read_keys(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) fail("cannot read the file of API keys ", file.string());
  std::vector<std::string> keys;
  for (std::string line; std::getline(in, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  if (keys.empty()) fail("the file of API keys ", file.string(), " holds none");
  return keys;
}

/// Room for a picture and a text, where the user asks for none.
void choose_context(EngineOptions& engine, const ModelConfig& config) {
  constexpr int64_t kTextTokens = 1024;
  if (engine.max_model_len == 0)
    engine.max_model_len =
        std::min(config.text.max_position_embeddings, config.vision.tokens() + kTextTokens);
}

ModelService model_service(const ServeOptions& options, KnownModel model) {
  const std::filesystem::path& folder = options.flags.engine.model;
  std::vector<std::string> names = options.names;
  if (names.empty()) names = {std::filesystem::absolute(folder).lexically_normal().filename().string()};
  if (names.front().empty()) names = {folder.string()};
  ModelService service{
      std::move(names),
      std::move(model.config),
      std::move(model.generation),
      Tokenizer::from_file(options.tokenizer.empty() ? folder : options.tokenizer),
      options.flags.engine.max_model_len,
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count()};
  service.longest_piece = service.tokenizer.longest_piece();
  return service;
}

/// A server from its start to its end, on the thread that runs it.
class Serving {
 public:
  Serving(const ServeOptions& options, const ModelService& model, const StopSignal& stop)
      : options_(options), stop_(stop), metrics_(model.names.front()), asks_(io_), signals_(io_, SIGHUP) {
    make_engine(model);
    api_.emplace(io_, options_.api, model, *engine_, metrics_,
                 [this](const std::string& line) { say(line); });
  }

  int run() {
    const HttpServerOptions& http = options_.api.http;
    say(cat("serving on ", http.certificate.empty() ? "http://" : "https://",
            endpoint_text(http.address, api_->http().port())));
    if (fleet_ != nullptr) begin_fleet();
    ask_for_stop();
    wait_for_hangup();
    io_.run();
    messages_.flush(5);
    if (!failure_.empty()) fail(failure_);
    return stop_.caught() != 0 ? 0 : 1;
  }

 private:
  void say(const std::string& line) {
    if (!options_.quiet) messages_.say(line + "\n");
  }

  void make_engine(const ModelService& model) {
    if (options_.engine.starts_with(kFake)) {
      engine_ = std::make_unique<FakeEngine>(io_, read_fake_script(options_.engine.substr(kFake.size())));
      return;
    }
    const Mesh& mesh = options_.flags.mesh;
    const bool by_hand = !options_.wait_for_workers.empty();
    const std::string token = by_hand ? token_from_environment() : make_token();
    if (token.empty())
      fail("--wait-for-workers needs a token that workers share, in the environment as ", kTokenVariable);
    starter_.emplace(options_.flags, mesh, token, options_.hostfile);
    FleetOptions fleet = fleet_options(options_.flags, model.config, mesh, token, options_.hostfile.empty(),
                                       options_.wait_for_workers, options_.step_deadline_seconds);
    fleet.rejoin = true;
    fleet.leave_share = false;
    fleet.mode = options_.mode;
    fleet.layer_group = options_.layer_group;
    fleet.steps_ahead = options_.steps_ahead;
    auto engine = std::make_unique<FleetEngine>(io_, fleet, engine_events());
    fleet_ = engine.get();
    engine_ = std::move(engine);
  }

  EngineEvents engine_events() {
    EngineEvents events;
    events.log = [this](const std::string& line) { say(line); };
    events.replica = [this](int replica, bool ready) {
      if (ready)
        say(cat("replica ", replica, " is ready"));
      else
        metrics_.replica_lost();
    };
    events.beat = [this](int replica, int rank, const wire::Heartbeat& beat) {
      metrics_.beat(replica, rank, beat);
    };
    events.failed = [this](const std::string& why) {
      failure_ = why;
      end();
    };
    return events;
  }

  void begin_fleet() {
    if (options_.wait_for_workers.empty()) {
      LauncherOptions launcher = starter_->launcher(fleet_->endpoints());
      // A service is to be back soon, and a worker that ends again and again is not to take the machine.
      launcher.restarts = {
          .first_seconds = 0.5, .longest_seconds = 8, .settled_seconds = 10, .fruitless_starts = 5};
      fleet_->launch(std::move(launcher));
      return;
    }
    say(cat("workers, with the same ", kTokenVariable,
            " in their environment: ", starter_->by_hand(fleet_->endpoints())));
  }

  // --- the end: balancers are told first, then nobody is let in, then who is here is served
  void ask_for_stop() {
    if (stop_.caught() != 0) return begin_drain();
    asks_.expires_after(std::chrono::milliseconds(50));
    asks_.async_wait([this](const boost::system::error_code& error) {
      if (!error) ask_for_stop();
    });
  }

  void begin_drain() {
    say("ending: not ready any more; a second signal ends at once");
    api_->announce_end();
    asks_.expires_after(nanoseconds_of(options_.drain_delay_seconds));
    asks_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      api_->refuse_new();
      api_->http().drain();
      drained_by_ = std::chrono::steady_clock::now() + nanoseconds_of(options_.drain_timeout_seconds);
      drain();
    });
  }

  void drain() {
    const size_t left = api_->http().in_progress();
    const bool late = std::chrono::steady_clock::now() >= drained_by_;
    if (left > 0 && late) say(cat(left, left == 1 ? " request is" : " requests are", " cut off"));
    if (left == 0 || late) return end();
    asks_.expires_after(std::chrono::milliseconds(20));
    asks_.async_wait([this](const boost::system::error_code& error) {
      if (!error) drain();
    });
  }

  void end() {
    api_->http().stop_accepting();
    engine_->stop([this] { io_.stop(); });
  }

  void wait_for_hangup() {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      try {
        api_->http().reload_certificate();
        say("the certificate was read again");
      } catch (const Error& trouble) {
        say(cat("the old certificate stays: ", trouble.what()));
      }
      wait_for_hangup();
    });
  }

  const ServeOptions& options_;
  const StopSignal& stop_;
  Messages messages_;
  boost::asio::io_context io_{1};
  ServeMetrics metrics_;
  std::optional<ReplicaStarter> starter_;
  std::unique_ptr<EngineClient> engine_;
  FleetEngine* fleet_ = nullptr;  // the engine, where it is one
  std::optional<ApiServer> api_;
  boost::asio::steady_timer asks_;
  boost::asio::signal_set signals_;
  std::chrono::steady_clock::time_point drained_by_;
  std::string failure_;
};

/// A connection is a descriptor, and systems give programs few unless asked.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run_serve(ServeOptions options) {
  StopSignal stop;
  allow_many_descriptors();
  if (started_by_mpi()) fail("serve starts its ranks itself: run it without mpirun");
  if (!options.api_key_file.empty())
    for (std::string& key : read_keys(options.api_key_file)) options.api.api_keys.push_back(std::move(key));
  if (options.api.http.certificate.empty() != options.api.http.key.empty())
    fail("--ssl-certfile and --ssl-keyfile belong together");
  options.api.limits.priority = true;
  if (!options.mask_decoder.empty())
    options.api.make_mask = [decoder = std::make_shared<const MaskDecoder>(options.mask_decoder)](
                                const DetectedBox& box, int64_t width, int64_t height) {
      constexpr bool kPolygons = true;
      return lapidary::make_mask(*decoder, box, width, height, kPolygons);
    };
  Mesh& mesh = options.flags.mesh;
  mesh.tp = std::max(1, mesh.tp);
  check_mesh(mesh, mesh.world());
  KnownModel known = know_model(options.flags);
  if (!options.quiet) print_remarks(known.remarks);
  choose_context(options.flags.engine, known.config);
  if (!options.engine.starts_with(kFake)) {
    if (options.engine != "fleet") fail("--engine ", options.engine, " is neither fleet nor fake:FILE");
    if (options.wait_for_workers.empty() && options.hostfile.empty()) check_local_ranks(mesh);
    fit_capacity(options.flags.engine, known.config);
    for (int rank = 0; rank < mesh.replica_ranks(); ++rank)
      check_coord(options.flags, known.config, mesh, coord_of(mesh, rank));
  }
  const ModelService model = model_service(options, std::move(known));
  Serving serving(options, model, stop);
  stop.defer();
  return serving.run();
}

}  // namespace

void add_serve_command(CLI::App& app, SelectedCommand& chosen) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App& command = *app.add_subcommand("serve", "Answer requests over HTTP, as OpenAI's API does");
  add_engine_flags(command, options->flags);
  add_replica_flags(command, options->flags);
  command.get_option("--max-model-len")->description("Tokens of one sequence; 0: one image and 1024 more");
  add_serve_options(command, *options);
  command.footer(
      "POST /v1/chat/completions, /v1/completions, /v1/responses   text and images (data URLs), streamed or "
      "whole\n"
      "POST /tokenize /detokenize\n"
      "GET  /v1/models /health /ready /version /metrics /cluster\n\n"
      "Each replica is a process tree of its own, started and watched by this one; one that dies is started "
      "anew, "
      "and its\n"
      "requests go to the others, or wait. SIGTERM drains.\n\n"
      "Exit code: 0 after SIGTERM or Ctrl-C; 1 when it could not go on; 2 for wrong usage.");
  when_selected(command, chosen, [options] { return run_serve(*options); });
}

}  // namespace lapidary
