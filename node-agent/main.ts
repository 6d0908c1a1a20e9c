// The agent: one process on every node. It wires itself together here; what each part does stands in its own folder.
import { mkdirSync, rmSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { hostname } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { collectStartGarbage } from "#base/node/start-garbage.ts";
import { jsonLogger, realClock, systemRandom } from "#base/node/system.ts";
import { VERSION } from "#base/version.ts";
import { parseAgentConfig } from "#node-agent/config.ts";
import { openImageStore } from "#node-agent/images/store.ts";
import { describeNode } from "#node-agent/local/description.ts";
import { watchDescription } from "#node-agent/local/description-changes.ts";
import { createLocalService } from "#node-agent/local/local-service.ts";
import { createClusterNode } from "#node-agent/local/node.ts";
import { serveStream } from "#node-agent/local/streams.ts";
import { startTaskRunner } from "#node-agent/reconcile/task-runner.ts";
import { openRuntime } from "#node-agent/runtime/crun-runtime.ts";
import { keepView } from "#node-agent/session/kept-view.ts";
import type { View } from "#node-agent/session/view.ts";
import { isEnded } from "#node-agent/task/step.ts";
import { startWiring } from "#node-agent/wiring/wiring.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { NodeLocalDefinition } from "#proto/gen/node.ts";
import { QuorumDefinition } from "#proto/gen/quorum.ts";
import { addService } from "#proto/rpc/server.ts";

const main = async (): Promise<void> => {
  const config = parseAgentConfig(process.argv.slice(2));
  if (process.getuid?.() !== 0)
    throw new TswarmError("forbidden", "the agent makes namespaces and mounts: run it as root");
  const logger = jsonLogger((line) => void process.stderr.write(line), config.logLevel).with({ process: "agent" });
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });

  const images = await openImageStore({ dir: join(config.dataDir, "images"), logger });
  const wiring = await startWiring({
    runDir: config.runDir,
    logger,
    onPortErrors: () => node.session()?.describe(),
  });
  const runtime = await openRuntime({
    stateDir: join(config.dataDir, "containers"),
    cgroupParent: config.cgroupParent,
    logger,
  });
  const tasks = await startTaskRunner({
    tasksDir: join(config.dataDir, "tasks"),
    runtime,
    images,
    wiring,
    clock: realClock,
    logger,
    report: (update) => node.session()?.report(update),
  });

  const kept = keepView(join(config.dataDir, "view.bin"), realClock);
  const setView = (view: View, applied = () => {}): void => {
    wiring.update(view, applied);
    tasks.assign(view);
  };

  const ownName = config.hostname ?? hostname();
  /** The first process of each container that runs. */
  const containers = (): number[] =>
    tasks.statuses().flatMap(({ status }) => (status && status.pid > 0 && !isEnded(status.state) ? [status.pid] : []));
  const described = watchDescription({
    clock: realClock,
    logger,
    describe: () => describeNode({ images, labels: config.labels, name: ownName, containers: containers(), wiring }),
    onChange: () => node.session()?.describe(),
  });
  const description = async () => described.description();
  const node = createClusterNode({
    config,
    clock: realClock,
    random: systemRandom,
    logger,
    session: {
      description,
      statuses: () => tasks.statuses(),
      onAccepted: ({ dataPathPort }) => wiring.setDataPathPort(dataPathPort),
      onAssignments: (message, applied) => setView(kept.apply(message), applied),
      onStream: (request, channel) =>
        void serveStream(request, channel, { nodeId: node.info().nodeId, tasks, runtime, doctor: wiring.doctor }).catch(
          (error) => logger.warn("stream failed", { stream: request.streamId, error }),
        ),
    },
    onMember: ({ nodeId, address, labels }) =>
      wiring.setSelf({ nodeId, vtep: address, hostname: ownName, labels: { ...config.labels, ...labels } }),
    async removeTasks() {
      // First: an agent that dies meanwhile must not start them again, others may run in their place.
      kept.forget();
      await tasks.removeAll();
      await wiring.removeAll();
    },
  });
  images.onChange(() => node.session()?.describe());

  const imageInUse = (digest: string): boolean =>
    [...kept.current().tasks.values()].some((t) => t.spec?.container?.imageDigest === digest);
  const server = new Server({ "grpc.max_receive_message_length": 64 << 20 });
  addService(
    server,
    NodeLocalDefinition,
    createLocalService({
      node,
      images,
      description: async () => described.known(),
      running: tasks.running,
      imageInUse,
      version: VERSION,
    }),
  );
  for (const definition of [ControlDefinition, QuorumDefinition])
    addService(server, definition, undefined, { elsewhere: () => node.control() });

  await node.resume();
  // What ran before this process goes on by the last view, also while no manager can be reached.
  setView(kept.current());

  rmSync(config.socket, { force: true });
  await new Promise<void>((resolve, reject) => {
    const previous = process.umask(0o117);
    server.bindAsync(`unix:${config.socket}`, ServerCredentials.createInsecure(), (error) => {
      process.umask(previous);
      error ? reject(error) : resolve();
    });
  });
  flushCompileCache();
  collectStartGarbage(realClock);
  logger.info("agent ready", { socket: config.socket, pid: process.pid });

  const stop = async (): Promise<void> => {
    server.forceShutdown();
    described.stop();
    await node.stop();
    tasks.close();
    await wiring.stop();
    kept.flush();
    process.exit(0);
  };
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
};

main().catch((error) => {
  const { code, message } = TswarmError.from(error);
  process.stderr.write(`tswarm-agent: ${message}\n`);
  // What a user can mend needs no stack.
  if (code === "internal") process.stderr.write(`${(error as Error).stack ?? ""}\n`);
  process.exit(1);
});
