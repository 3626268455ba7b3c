#include "coordinator/cli/serve_options.h"

#include "coordinator/cli/option_table.h"

namespace lapidary {
namespace {

void add_http_options(CLI::App& command, ServeOptions& options) {
  HttpServerOptions& http = options.api.http;
  command.add_option("--host", http.address, "IP address to listen on; 0.0.0.0 or :: for all")
      ->capture_default_str();
  command.add_option("--port", http.port, "0: any that is free")->capture_default_str();
  command.add_option("--ssl-certfile", http.certificate,
                     "Certificates, PEM: TLS is spoken; SIGHUP reads them again");
  command.add_option("--ssl-keyfile", http.key, "The certificate's key, PEM");
  command.add_option("--api-key", options.api.api_keys, "Keys, any of which a request has to bring (Bearer)")
      ->envname("LAPIDARY_API_KEY");
  command.add_option("--api-key-file", options.api_key_file, "A file of more keys, one a line");
  command
      .add_option("--max-connections", http.max_connections,
                  "Connections at a time; of more, new ones are closed")
      ->check(positive())
      ->capture_default_str();
}

void add_api_options(CLI::App& command, ServeOptions& options) {
  ApiServerOptions& api = options.api;
  command.add_option("--served-model-name", options.names,
                     "Names by which requests may call the model (default: its folder's)");
  command.add_option("--tokenizer", options.tokenizer,
                     "tokenizer.json, or a folder with one (default: the model's)");
  command
      .add_option("--max-queued-requests", api.max_queued_requests,
                  "Requests that may wait beyond those that run; more are answered 429")
      ->check(non_negative())
      ->capture_default_str();
  command
      .add_option("--request-timeout", api.request_timeout_seconds,
                  "Seconds in which a request is to be answered whole; 0: any time")
      ->check(between(0, 1e6))
      ->capture_default_str();
  command.add_option("--max-images", api.limits.max_images, "Images of one request")
      ->check(non_negative(1024))
      ->capture_default_str();
  command.add_flag("--flatten-chat", api.limits.flatten_chat,
                   "Join system texts and earlier turns to one prompt, instead of refusing them");
  command.add_option(
      "--mask-decoder", options.mask_decoder,
      "vae-oid.npz, which belongs to the checkpoints' segmentation tokens: detections with such get "
      "a mask, as run lengths and contours");
  command.add_option("--allowed-local-media-path", api.local_media,
                     "A folder: images of requests may be files below it (file://); default: none are read");
  command
      .add_option_function<double>(
          "--max-image-mb", [&api](double mb) { api.limits.max_image_bytes = static_cast<size_t>(mb * 1e6); },
          "Of one image's file")
      ->check(between(0.001, 40))
      ->default_str("20.97");
  command
      .add_option("--metrics-prefix", api.metrics_prefix,
                  "Before the names of metrics; vllm: for boards made for vLLM")
      ->capture_default_str();
  command.add_option("--engine", options.engine, "fleet, or fake:FILE, a script's answers without a model")
      ->capture_default_str();
  command.add_flag("--quiet", options.quiet, "Say nothing but errors");
}

void add_runtime_options(CLI::App& command, ServeOptions& options) {
  add_enum_option(
      command, "--mode", options.mode,
      "latency: prefills are cut into groups of layers, with decode steps between; throughput: tokens "
      "are decoded in the steps of prefills");
  command
      .add_option("--layer-group", options.layer_group,
                  "Layers of a prefill between two decode steps, in latency mode; 0: an eighth of them")
      ->check(non_negative())
      ->capture_default_str();
  command
      .add_option(
          "--steps-ahead", options.steps_ahead,
          "Steps that workers have been given at a time, so that they wait for no answer; 0: two a stage")
      ->check(non_negative(1024))
      ->capture_default_str();
  command
      .add_option(
          "--step-deadline", options.step_deadline_seconds,
          "Seconds in which a step or a picture must come back; a replica that is later, or silent for "
          "that long (at most 10 s), is started anew")
      ->check(between(0.1, 1e6))
      ->capture_default_str();
  command
      .add_option("--drain-delay", options.drain_delay_seconds,
                  "Seconds after SIGTERM in which requests are still taken, while /ready says no")
      ->check(between(0, 1e6))
      ->capture_default_str();
  command
      .add_option("--drain-timeout", options.drain_timeout_seconds,
                  "Seconds after that in which requests may end; a second signal ends at once")
      ->check(between(0, 1e6))
      ->capture_default_str();
  command.add_option(
      "--hostfile", options.hostfile,
      "Hosts of the replicas (\"host slots=8\" a line), each of which gets a mpirun of its own");
  command.add_option(
      "--wait-for-workers", options.wait_for_workers,
      "ADDRESS:PORT at which to wait for workers that somebody else starts (`lapidary worker`); the "
      "token that they share is in the environment as LAPIDARY_TOKEN");
}

}  // namespace

void add_serve_options(CLI::App& command, ServeOptions& options) {
  add_http_options(command, options);
  add_api_options(command, options);
  add_runtime_options(command, options);
}

}  // namespace lapidary
