// The manager process: replicated log, state, and the services on top of it, on one port with mutual TLS and on a Unix
// socket for the agent of its own node.

import { rmSync, writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { type Client, Server, ServerCredentials } from "@grpc/grpc-js";
import { TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import { loadIdentity, lockedSubject, type Membership } from "#base/node/identity-files.ts";
import { collectStartGarbage } from "#base/node/start-garbage.ts";
import { jsonLogger, realClock, systemRandom } from "#base/node/system.ts";
import { createControlService } from "#control-plane/api/control-service.ts";
import { managersOnly } from "#control-plane/api/require-manager.ts";
import { createLeaderLoop } from "#control-plane/controllers/leader-loop.ts";
import { createDispatcher } from "#control-plane/dispatcher/dispatcher.ts";
import { createCaService } from "#control-plane/identity/ca-service.ts";
import { openAgentPipe } from "#control-plane/manager/agent-pipe.ts";
import { bootstrapCluster } from "#control-plane/manager/bootstrap.ts";
import { parseManagerConfig } from "#control-plane/manager/config.ts";
import { findLeader } from "#control-plane/manager/find-leader.ts";
import { followLock } from "#control-plane/manager/follow-lock.ts";
import { followLeadership, type Leadership } from "#control-plane/manager/leadership.ts";
import { openMemberKeys } from "#control-plane/manager/member-keys.ts";
import { managerMembership } from "#control-plane/manager/membership.ts";
import { openManagerLog } from "#control-plane/manager/open-log.ts";
import { keepAddress } from "#control-plane/manager/own-address.ts";
import { createReplicatedState } from "#control-plane/manager/replicated-state.ts";
import { folderBytes } from "#control-plane/quorum/folder-bytes.ts";
import { createQuorumService } from "#control-plane/quorum/quorum-service.ts";
import { settleFolders } from "#control-plane/recovery/folder-swap.ts";
import { createState } from "#control-plane/state/state.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import { ControlDefinition } from "#proto/gen/control.ts";
import { DispatcherDefinition } from "#proto/gen/dispatcher.ts";
import { QuorumDefinition } from "#proto/gen/quorum.ts";
import { connected, MANAGER_KEEPALIVE, openChannel } from "#proto/rpc/client.ts";
import { clientCredentials, identitySource, serverCredentials } from "#proto/rpc/security.ts";
import { addService } from "#proto/rpc/server.ts";

const config = parseManagerConfig(process.argv.slice(2));
const logger = jsonLogger((line) => void process.stdout.write(line), config.logLevel).with({ process: "manager" });

const agent = openAgentPipe(process.stdin, (line) => {
  try {
    writeSync(3, `${line}\n`);
  } catch {
    // Started by hand: nobody listens.
  }
});

const main = async (): Promise<void> => {
  const givenKey = lockedSubject(config.identityDir) ? await agent.unlockKey() : "";
  const identity = loadIdentity(config.identityDir, givenKey);
  if (!identity)
    throw new TswarmError("invalid", `no certificate in ${config.identityDir}: the node is not part of a cluster`);
  const source = identitySource(identity);
  const credentials = clientCredentials(source);
  const channels = new Map<string, Client>();
  const dial = (address: string): Client => {
    let channel = channels.get(address);
    if (!channel) channels.set(address, (channel = openChannel(address, credentials, MANAGER_KEEPALIVE)));
    return channel;
  };

  settleFolders(config.dataDir);
  const keys = openMemberKeys(join(config.dataDir, "raft"), identity, givenKey);
  const replicated = createReplicatedState(createState(), realClock, systemRandom);
  const server = new Server({ "grpc.max_receive_message_length": 64 << 20, "grpc.max_send_message_length": 64 << 20 });
  const local = new Server();

  let leadership: Leadership | undefined;
  const log = await openManagerLog({
    config,
    identity,
    credentials,
    server,
    keys,
    replicated,
    clock: realClock,
    random: systemRandom,
    logger,
    // It may have been one of a majority that another manager was recovered from, and lead that still.
    onRemoved() {
      leadership?.stop();
      agent.say("removed");
    },
  });
  replicated.attach(log);

  const dispatcher = createDispatcher({
    replicated,
    clock: realClock,
    logger,
    newId: () => newId(systemRandom),
    managers: () => log.status().members.map((m) => ({ nodeId: m.nodeId, addr: m.addr, leader: m.leader })),
    leaderAddr: () => leadership?.leaderAddr() ?? "",
  });
  leadership = followLeadership(
    log,
    [
      { start: () => bootstrapCluster(config.dataDir, replicated), stop: () => {} },
      createLeaderLoop({ replicated, clock: realClock, logger }),
      dispatcher,
      managerMembership({ log, state: replicated.state, dispatcher, clock: realClock, logger }),
    ],
    realClock,
    logger,
  );

  const elsewhere = () => findLeader({ leadership, own: config.advertise, dial, connected, clock: realClock });

  const control = createControlService({ replicated, log, dispatcher, random: systemRandom });
  const quorum = createQuorumService({
    ...{ log, state: replicated.state, clock: realClock, dial },
    logBytes: () => folderBytes(join(config.dataDir, "raft", "wal")),
  });
  const managerAddrs = () => log.status().members.map((m) => m.addr);
  addService(server, CaDefinition, createCaService(replicated, realClock, managerAddrs), { elsewhere });
  const guard = managersOnly(replicated.state, identity.clusterId);
  addService(server, ControlDefinition, control, { elsewhere, guard });
  addService(server, QuorumDefinition, quorum, { guard });
  addService(server, DispatcherDefinition, dispatcher.handlers);
  // Who may open the socket acts for this node.
  const { nodeId, clusterId } = identity;
  addService(local, ControlDefinition, control, { elsewhere, local: { nodeId, clusterId, role: "manager" } });
  addService(local, QuorumDefinition, quorum);

  const bind = (on: Server, address: string, security: ServerCredentials): Promise<void> =>
    new Promise((resolve, reject) =>
      on.bindAsync(address, security, (error) =>
        error
          ? reject(
              new TswarmError(
                "conflict",
                `can't listen on ${address}: ${error.message}. Choose another with --listen-addr.`,
              ),
            )
          : resolve(),
      ),
    );
  rmSync(config.socket, { force: true });
  await bind(server, config.listen, serverCredentials(source));
  await bind(local, `unix:${config.socket}`, ServerCredentials.createInsecure());
  agent.say("ready");
  const stopTelling = keepAddress({ log, advertise: config.advertise, dial, clock: realClock, logger });
  flushCompileCache();
  collectStartGarbage(realClock);
  logger.info("serving", { listen: config.listen, node: identity.nodeId, raftId: log.status().raftId });

  const stop = async (): Promise<void> => {
    stopTelling();
    leadership.stop();
    await log.stop();
    server.forceShutdown();
    local.forceShutdown();
    process.exit(0);
  };
  // The agent holds the other end: it closes when the agent wants this process to end, or has ended itself.
  agent.onEnd(() => void stop());
  let { keyPem } = identity;
  const settleLock = followLock({
    ...{ state: replicated.state, keys, agent, logger },
    keyPem: () => keyPem,
    onFailure(error) {
      // A disk that does not take the keys will not take the log either.
      logger.error("the lock of this manager's files is not as the cluster wants it", { error });
      process.exit(1);
    },
  });
  /** The agent may have sealed it just before the key changed, or just after. */
  const reload = (): Membership | undefined => {
    try {
      return loadIdentity(config.identityDir, replicated.state.cluster()?.unlockKey);
    } catch {
      return loadIdentity(config.identityDir, givenKey);
    }
  };
  // The agent has renewed the node's certificate.
  process.on("SIGHUP", () => {
    const renewed = reload();
    if (renewed) {
      source.replace(renewed);
      keyPem = renewed.keyPem;
      settleLock();
    }
    logger.info("certificate reloaded");
  });
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
};

main().catch((error) => {
  const { message } = TswarmError.from(error);
  logger.error("manager can't serve", { error });
  agent.say(message);
  process.exit(1);
});
