#include "ops/cpu/matmul_plans.h"

namespace chorus {

MatmulPlans::MatmulPlans(int workers, std::optional<Bf16Products> bf16_products)
    : workers_(workers),
      engine_(dnnl::engine::kind::cpu, 0),
      stream_(engine_),
      bf16_products_(bf16_products) {}

Bf16Products MatmulPlans::bf16_products() {
  if (!bf16_products_) bf16_products_ = fastest_bf16_products();
  return *bf16_products_;
}

void MatmulPlans::forget_many() {
  constexpr std::size_t most = 1024;
  if (plans_.size() >= most) plans_.clear();
}

MatmulPlan& MatmulPlans::find(const MatmulKey& key) {
  const auto found = plans_.find(key);
  if (found != plans_.end()) return found->second;
  return plans_.try_emplace(key, key, engine_, workers_).first->second;
}

GridPlans MatmulPlans::find(MatmulKey key, const TileGrid& grid) {
  GridPlans plans{};
  for (const bool last_row : {false, true}) {
    for (const bool last_column : {false, true}) {
      const bool occurs = (last_row || grid.row_tiles() > 1) && (last_column || grid.column_tiles() > 1);
      if (!occurs) continue;
      key.m = grid.rows_at(last_row ? grid.row_tiles() - 1 : 0);
      key.n = grid.columns_at(last_column ? grid.column_tiles() - 1 : 0);
      plans[last_row][last_column] = &find(key);
    }
  }
  return plans;
}

}  // namespace chorus
