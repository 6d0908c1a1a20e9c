// Waiting until services that were removed have left no task behind.
import type { Cli } from "#tsctl/cli.ts";
import { follow } from "#tsctl/connection/watch.ts";

/**
 * Opens the watch, then calls `remove`, which returns the ids of services to wait for. Returns when the last of them is
 * gone, or at Ctrl-C.
 */
export const removeAndWait = async (cli: Cli, remove: () => Promise<readonly string[]>): Promise<void> => {
  const stop = new AbortController();
  const interrupt = cli.interrupt();
  interrupt.addEventListener("abort", () => stop.abort(), { once: true });
  let left: Set<string> | undefined;
  await follow(
    cli,
    [{ table: "service", id: "", serviceId: "", nodeId: "" }],
    {
      load: async () => {
        if (left === undefined) {
          left = new Set(await remove());
          return;
        }
        // After a broken stream: what is not listed has left meanwhile or will tell so by an event.
        const { tasks } = await (await cli.control()).listTasks({ filters: [{ key: "service", values: [...left] }] });
        const busy = new Set(tasks.map((task) => task.serviceId));
        for (const id of left) if (!busy.has(id)) left.delete(id);
      },
      event: ({ action, object, previous }) => {
        if (action !== "remove") return;
        for (const gone of [object, previous])
          if (gone?.object?.$case === "service") left?.delete(gone.object.value.id);
      },
      settled: () => left?.size === 0,
    },
    stop.signal,
  );
  if (interrupt.aborted) {
    cli.err.write("\nThe removal goes on in the background. Watch it with: tsctl service ls\n");
    cli.exit(130);
  }
};
