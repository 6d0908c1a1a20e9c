// `make up` and `make down`: the demonstration cluster.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { ensureImages } from "#test-cluster/images/images.ts";
import { createCluster, findCluster, ROOT, tsctl } from "#test-cluster/netns/cluster.ts";
import { formCluster, loadImages } from "#test-cluster/netns/form.ts";

const NAME = "tswarm";
const NUMBER = 50;
const CONTEXT = join(ROOT, "build/cluster/context.json");

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const up = async (nodes: number, managers: number): Promise<void> => {
  if (!(Number.isInteger(nodes) && nodes >= 1 && nodes <= 50)) throw new Error(`NODES=${nodes}: give 1 to 50`);
  if (!(Number.isInteger(managers) && managers >= 1 && managers <= nodes))
    throw new Error(`MANAGERS=${managers}: give 1 to NODES (${nodes})`);
  say("images");
  const { images } = await ensureImages();
  say(`${nodes} nodes, ${managers} of them managers`);
  const cluster = await createCluster({ name: NAME, number: NUMBER, nodes });
  try {
    await formCluster(cluster, managers);
    const [first] = cluster.layout.nodes;
    mkdirSync(dirname(CONTEXT), { recursive: true });
    writeFileSync(CONTEXT, `${JSON.stringify({ host: `unix:${first!.socket}` })}\n`);
    say("loading the images on every node");
    loadImages(
      cluster,
      images.map((i) => i.archive),
    );
    say("deploying deploy/stacks/demo.yaml");
    tsctl(first!, "stack", "deploy", "--no-detach", "-c", join(ROOT, "deploy/stacks/demo.yaml"), "demo");
    for (const list of [
      ["node", "ls"],
      ["service", "ls"],
      ["stack", "ps", "demo"],
    ])
      say(`\n$ tsctl ${list.join(" ")}\n${tsctl(first!, ...list).trimEnd()}`);
  } catch (error) {
    say(`make up failed; what was started is kept for a look (${cluster.layout.dir}), \`make down\` removes it`);
    throw error;
  }
  say(`
The cluster is up. tsctl talks to it without being told (see \`./bin/tsctl context show\`). Try:

  ./bin/tsctl network create --driver overlay --subnet 10.77.0.0/24 backend
  ./bin/tsctl service create --name web --network backend --replicas 6 localhost/web:1
  ./bin/tsctl service create --name client --network backend --replicas 3 localhost/tools:1 sleep infinity
  ./bin/tsctl service ps web
  ./bin/tsctl exec client.1 curl -s http://web/
  ./bin/tsctl service logs -f web
  make down`);
};

const down = async (): Promise<void> => {
  await findCluster(NAME)?.down();
  rmSync(dirname(CONTEXT), { recursive: true, force: true });
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { nodes: { type: "string", default: "3" }, managers: { type: "string", default: "3" } },
});
try {
  if (positionals[0] === "up") await up(Number(values.nodes), Number(values.managers));
  else if (positionals[0] === "down") await down();
  else throw new Error("usage: main.ts up|down");
} catch (error) {
  const { stderr, message } = error as Error & { stderr?: string };
  process.stderr.write(`${stderr?.trim() || message}\n`);
  process.exit(1);
}
