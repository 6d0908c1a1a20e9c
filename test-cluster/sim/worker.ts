// A process of the fleet: runs the seeds it is told to, with the code broken as the named mutant says, if one is named.
import { mutants } from "#test-cluster/sim/mutants/mutants.ts";
import { mutate } from "#test-cluster/sim/mutants/mutate.ts";
import type { Order } from "#test-cluster/sim/run-seeds.ts";

const [name] = process.argv.slice(2);
if (name !== undefined) mutate(mutants.find((m) => m.name === name)!.edits);
// Only now, so that it is the broken code that is loaded.
const { runSeeds } = await import("#test-cluster/sim/run-seeds.ts");

process.on("message", (order: Order) => {
  runSeeds(order).then(
    (outcome) => process.send!(outcome),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on("disconnect", () => process.exit());
