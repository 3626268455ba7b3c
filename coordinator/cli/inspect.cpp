#include <cstdio>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/model_door.h"
#include "coordinator/telemetry/progress.h"
#include "coordinator/telemetry/table.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory_plan.h"

namespace lapidary {
namespace {

/// What one rank of a replica would hold.
struct RankPlan {
  MeshCoord coord;
  ShardPlan shard;
  StagePart share;
  bool vision_lane;
};

using Row = std::vector<std::string>;

/// "3.03 B", "412 M".
std::string count_text(int64_t n) {
  const auto value = static_cast<double>(n);
  char text[32];
  if (n >= 1'000'000'000) {
    std::snprintf(text, sizeof(text), "%.2f B", value / 1e9);
  } else if (n >= 1'000'000) {
    std::snprintf(text, sizeof(text), "%.1f M", value / 1e6);
  } else {
    return std::to_string(n);
  }
  return text;
}

std::string size_text(int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

/// "0-3 (4)", or "none".
std::string range_text(Range range) {
  return range.size() == 0 ? "none" : cat(range.begin, "-", range.end - 1, " (", range.size(), ")");
}

void print_config(const ModelConfig& config) {
  const VisionConfig& v = config.vision;
  const TextConfig& t = config.text;
  const ParameterCounts counts = parameters(config);
  std::printf("PaliGemma 2, %s parameters, %ld px\n", count_text(counts.total()).c_str(),
              static_cast<long>(v.image_size));
  const std::string window = t.sliding_window
                                 ? cat(*t.sliding_window, " tokens, in ",
                                       std::count(t.sliding_layers.begin(), t.sliding_layers.end(), true),
                                       " of ", t.layers, " layers")
                                 : "none";
  const auto cap = [](const std::optional<double>& value) {
    return value ? cat(*value) : std::string("none");
  };
  std::fputs(
      cat("  vision tower  ", count_text(counts.vision), ": ", v.layers, " layers, width ", v.hidden_size,
          ", ", v.heads, " heads of ", v.head_dim(), ", MLP ", v.intermediate_size, ", patches of ",
          v.patch_size, " px, ", v.tokens(), " tokens an image\n", "  projector     ",
          count_text(counts.projector), ": ", v.hidden_size, " to ", config.projection_dim, "\n",
          "  decoder       ", count_text(counts.text), ": ", t.layers, " layers, width ", t.hidden_size, ", ",
          t.heads, " heads of ", t.head_dim, ", ", t.kv_heads, " KV heads, MLP ", t.intermediate_size,
          ", vocabulary ", t.vocab_size, ", ", t.tie_word_embeddings ? "tied" : "separate", " head\n",
          "                query scale 1/sqrt(", t.query_pre_attn_scalar, "), RoPE theta ", t.rope_theta,
          ", up to ", t.max_position_embeddings, " tokens\n", "                window ", window,
          "; soft-caps ", cap(t.attn_softcap), " (attention), ", cap(t.final_softcap), " (logits)\n")
          .c_str(),
      stdout);
}

/// What is stored; a config alone can be looked at too.
std::string checkpoint_text(const EngineFlags& options, const KnownModel& model) {
  if (model.tensors == 0) return cat("none, ", options.engine.model.string(), " is a config");
  const std::string& dtype = model.config.torch_dtype;
  return cat(size_text(model.stored_bytes), " in ", model.tensors, " tensors, ",
             dtype.empty() ? "dtype not said" : dtype);
}

std::string sums_text(const BlockPlan& block) {
  return cat(block.out_sums.leaves(), "/", block.out_sums.outputs(), " ", block.down_sums.leaves(), "/",
             block.down_sums.outputs());
}

std::vector<RankPlan> plan_ranks(const EngineFlags& options, const ModelConfig& config) {
  std::vector<RankPlan> plans;
  for (int rank = 0; rank < options.mesh.replica_ranks(); ++rank) {
    const MeshCoord coord = coord_of(options.mesh, rank);
    plans.push_back({coord, PaliGemma::plan_for(config, coord.tp_rank, options.mesh.tp),
                     stage_part_of(config, options.mesh, coord, options.engine.pp_layers),
                     has_vision_lane(options.mesh, coord)});
  }
  return plans;
}

/// "embedding", "head", "both": which of its vocabulary rows a rank needs for what.
const char* vocabulary_use(const StagePart& share) {
  if (share.embedding && share.head) return "both";
  return share.embedding ? "embedding" : share.head ? "head" : "none";
}

void print_plans(const std::vector<RankPlan>& plans) {
  std::vector<Row> rows{{"rank", "stage", "layers", "heads", "KV heads", "MLP columns", "vocabulary rows",
                         "for", "leaves/blocks", "vision tower"}};
  for (const auto& [coord, shard, share, vision_lane] : plans) {
    const char* tower = vision_lane ? "whole" : "none";
    if (coord.decodes()) {
      rows.push_back({cat(coord.rank), cat(coord.stage), range_text({share.layers.begin, share.layers.end}),
                      range_text(shard.decoder.heads), range_text(shard.decoder.kv_heads),
                      range_text(shard.decoder.ffn), range_text(shard.vocab), vocabulary_use(share),
                      sums_text(shard.decoder), tower});
    } else {
      rows.push_back({cat(coord.rank), "vision", "none", "", "", "", "", "", "", tower});
    }
  }
  std::printf("\nShard plan of %zu rank%s\n%s", plans.size(), plans.size() == 1 ? "" : "s",
              table_text(rows).c_str());
  std::printf(
      "(leaves/blocks of a rank: pieces of the attention output's sum, and of the MLP's, that it holds, and "
      "the partial sums it sends)\n");
}

void print_memory(const EngineFlags& options, const ModelConfig& config, const std::vector<RankPlan>& plans) {
  const Capacity capacity = fit_capacity(options.engine, config, options.mesh);
  const WeightTypes types = resolve_types(options.engine, config);
  ThreadPool threads(1);
  const auto backend = make_cpu_backend(threads, options.engine.isa);
  std::vector<Row> rows{{"rank", "weights", "KV pages", "encoder cache"}};
  for (const RankPlan& plan : plans) {
    const Memory memory =
        plan_memory(config, plan.shard, plan.share, plan.vision_lane, capacity, types, *backend);
    const auto text = [](size_t bytes) { return size_text(static_cast<int64_t>(bytes)); };
    rows.push_back({cat(plan.coord.rank), text(memory.weights), text(memory.kv), text(memory.embeddings)});
  }
  const std::string types_text =
      types.decoder == types.linear
          ? name_of(types.linear)
          : cat(name_of(types.linear), " with ", name_of(types.decoder), " decoder weights");
  std::printf(
      "\nMemory of each rank, %s, %ld sequences of up to %ld tokens at once (activations come on top; a run "
      "prints all)\n%s",
      types_text.c_str(), static_cast<long>(capacity.max_num_seqs()),
      static_cast<long>(capacity.max_model_len()), table_text(rows).c_str());
}

int run_inspect(EngineFlags options) {
  EngineOptions& engine = options.engine;
  if (std::filesystem::is_regular_file(engine.model)) engine.load_format = LoadFormat::dummy;
  const KnownModel model = know_model(options);
  const auto of_tokenizer = check_tokenizer(options, model.config);
  const std::vector<RankPlan> plans = plan_ranks(options, model.config);
  print_config(model.config);
  std::printf("  checkpoint    %s\n", checkpoint_text(options, model).c_str());
  print_plans(plans);
  print_memory(options, model.config, plans);
  print_remarks(model.remarks);
  print_remarks(of_tokenizer);
  return 0;
}

}  // namespace

void add_inspect_command(CLI::App& app, SelectedCommand& chosen) {
  auto options = std::make_shared<EngineFlags>();
  options->mesh.tp = 1;
  CLI::App& command =
      *app.add_subcommand("inspect", "Say what a model is, and what each rank would hold of it");
  command
      .add_option("--model,model", options->engine.model,
                  "Checkpoint folder, or a config file (configs/models/*.json)")
      ->required();
  add_engine_flags(command, *options,
                   {"load-format", "generation-config", "tp", "pp", "pp-layers", "dtype", "quantization",
                    "max-num-seqs", "max-model-len"});
  add_replica_flags(command, *options, {"vision-ranks", "encoder-cache-slots"});
  when_selected(command, chosen, [options] { return run_inspect(*options); });
}

}  // namespace lapidary
