// A node's membership: init, join, leave, and what runs while it is a member: the session, and on a manager the manager
// process. One object per agent; it survives changes of membership.
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import { newJoinToken, parseJoinToken } from "#base/join-token.ts";
import type { Logger } from "#base/log.ts";
import { writeFileDurably } from "#base/node/files.ts";
import { deleteIdentity, loadIdentity, type Membership, saveIdentity } from "#base/node/identity-files.ts";
import { certificateDigest, createCa, createKeyAndRequest, issueCertificate, readCertificate } from "#base/node/pki.ts";
import type { Random } from "#base/random.ts";
import type { AgentConfig } from "#node-agent/config.ts";
import { advertiseAddress, hostPort } from "#node-agent/local/advertise-address.ts";
import { type ManagerProcess, startManagerProcess } from "#node-agent/local/manager-process.ts";
import { type Session, type SessionOptions, startSession } from "#node-agent/session/session.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import type { InfoResponse, InitRequest, InitResponse, JoinRequest, JoinResponse } from "#proto/gen/node.ts";
import { NodeRole, type NodeSpec } from "#proto/gen/types.ts";
import { createClient, openChannel } from "#proto/rpc/client.ts";
import { anonymousCredentials, clientCredentials, fetchCa } from "#proto/rpc/security.ts";

/** Besides the identity: where this node is reached and whom it knows. */
type Saved = { readonly advertise: string; readonly listen: string; readonly managers: readonly string[] };

export type NodeOptions = {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What a session needs of the rest of the agent. */
  readonly session: Pick<SessionOptions, "description" | "statuses" | "onAccepted" | "onAssignments" | "onStream">;
  /** The node has an address now: networking may use it as VTEP. */
  readonly onMember: (membership: Membership, address: string) => void;
  /** Stops all tasks and removes what they had. */
  readonly removeTasks: () => Promise<void>;
};

export type ClusterNode = {
  /** Goes on as a member after a restart of the agent. */
  resume(): Promise<void>;
  init(request: InitRequest): Promise<InitResponse>;
  join(request: JoinRequest): Promise<JoinResponse>;
  leave(force: boolean): Promise<void>;
  info(): Pick<
    InfoResponse,
    "nodeId" | "clusterId" | "role" | "state" | "error" | "advertiseAddr" | "managerAddrs" | "managerPid"
  >;
  readonly session: () => Session | undefined;
  /** The channel on which this node's tsctl reaches the control API. */
  control(): Client;
  stop(): Promise<void>;
};

const READY_TIMEOUT_MS = 30_000;

export const createClusterNode = (options: NodeOptions): ClusterNode => {
  const { config, clock, random, logger } = options;
  const identityDir = join(config.dataDir, "identity");
  const managerDir = join(config.dataDir, "manager");
  const savedPath = join(config.dataDir, "node.json");
  const managerSocket = join(config.runDir, "manager.sock");

  let membership: Membership | undefined;
  let saved: Saved | undefined;
  let manager: ManagerProcess | undefined;
  let session: Session | undefined;
  let channel: Client | undefined;
  let problem = "";
  let busy = false;

  const save = (next: Saved): void => {
    saved = next;
    writeFileDurably(savedPath, JSON.stringify(next));
  };

  const startManager = async (join_: readonly string[]): Promise<void> => {
    mkdirSync(managerDir, { recursive: true, mode: 0o700 });
    manager = startManagerProcess(
      [
        `--data-dir=${managerDir}`,
        `--identity-dir=${identityDir}`,
        `--socket=${managerSocket}`,
        `--listen=${saved!.listen}`,
        `--advertise=${saved!.advertise}`,
        `--join=${join_.join(",")}`,
        `--log-level=${config.logLevel}`,
      ],
      join(config.dataDir, "manager.log"),
      clock,
      logger,
    );
    const cancel = clock.after(READY_TIMEOUT_MS, () => logger.warn("manager is not ready yet"));
    await manager.ready.finally(cancel);
  };

  const stopManager = async (): Promise<void> => {
    await manager?.stop();
    manager = undefined;
  };

  const resetChannel = (): void => {
    channel?.close();
    channel = undefined;
  };

  const hostOf = (address: string): string => address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");

  const startMember = (): void => {
    options.onMember(membership!, hostOf(saved!.advertise));
    const credentials = clientCredentials(membership!);
    session = startSession({
      ...options.session,
      clock,
      random,
      logger,
      addr: hostOf(saved!.advertise),
      managers: () => saved?.managers ?? [],
      dial: (address) => openChannel(address, credentials),
      onManagers(addresses, _leader, node) {
        if (addresses.length > 0 && addresses.join() !== saved?.managers.join()) {
          save({ ...saved!, managers: addresses });
          if (!manager) resetChannel();
        }
        if (node) void followRole(node);
      },
      onRemoved(reason) {
        problem = `removed from the cluster: ${reason}. Run \`tsctl cluster leave --force\`, then join again.`;
        logger.error("removed from the cluster", { reason });
        session = undefined;
      },
    });
  };

  /** The role is the node's desired state: a promoted node becomes a manager by itself, a demoted one a worker. */
  let changingRole = false;
  const followRole = async (node: NodeSpec): Promise<void> => {
    const wanted = node.role === NodeRole.MANAGER ? "manager" : "worker";
    if (changingRole || !membership || wanted === membership.role) return;
    changingRole = true;
    try {
      logger.info("role changes", { from: membership.role, to: wanted });
      if (wanted === "worker") {
        await stopManager();
        rmSync(managerDir, { recursive: true, force: true });
      }
      const { keyPem, csrPem } = await createKeyAndRequest();
      const others = saved!.managers.filter((a) => a !== saved!.advertise);
      const dialed = openChannel(others[0] ?? saved!.managers[0]!, clientCredentials(membership));
      const answer = await createClient(CaDefinition, dialed)
        .issueCertificate(
          { csrPem: Buffer.from(csrPem), token: "", nodeId: membership.nodeId, hostname: "", addr: "" },
          { deadlineMs: 10_000 },
        )
        .finally(() => dialed.close());
      const identity = { keyPem, certificatePem: answer.certificatePem.toString(), caPem: membership.caPem };
      saveIdentity(identityDir, identity);
      membership = { ...identity, ...readCertificate(identity.certificatePem) };
      session?.stop();
      resetChannel();
      if (membership.role === "manager") await startManager(answer.managerAddrs);
      startMember();
    } catch (error) {
      logger.error("role not changed, will try again", { error });
      clock.after(5_000, () => void followRole(node));
    } finally {
      changingRole = false;
    }
  };

  /** One change of membership at a time, and none half made: what fails takes back what it wrote. */
  const exclusively = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (busy) throw refuse("conflict", "node", "another init, join or leave is under way", "Wait for it to end");
    if (what !== "leave" && (membership || loadIdentity(identityDir)))
      throw refuse("conflict", "node", "it is already part of a cluster", "Leave it first: tsctl cluster leave");
    busy = true;
    try {
      return await work();
    } catch (error) {
      if (what !== "leave") {
        session?.stop();
        session = undefined;
        await stopManager();
        forget();
      }
      throw error;
    } finally {
      busy = false;
    }
  };

  const forget = (): void => {
    membership = undefined;
    saved = undefined;
    problem = "";
    resetChannel();
    deleteIdentity(identityDir);
    rmSync(managerDir, { recursive: true, force: true });
    rmSync(savedPath, { force: true });
  };

  const ownName = () => config.hostname ?? hostname();

  const listenAddress = (given: string, port: number): string => {
    if (given === "") return `0.0.0.0:${port}`;
    return /:\d+$/.test(given) ? given : hostPort(given, port);
  };

  return {
    session: () => session,
    async resume() {
      membership = loadIdentity(identityDir);
      if (!membership) return;
      saved = JSON.parse(readFileSync(savedPath, "utf8"));
      startMember();
      if (membership.role === "manager")
        await startManager([]).catch((error) => {
          problem = TswarmError.from(error).message;
          logger.error("manager not started", { error });
        });
    },

    init: (request) =>
      exclusively("init", async () => {
        const { host, port } = advertiseAddress(request.advertiseAddr);
        const now = clock.now();
        const nodeId = newId(random);
        const clusterId = newId(random);
        const ca = await createCa(now);
        const { keyPem, csrPem } = await createKeyAndRequest();
        const certificatePem = await issueCertificate(
          ca,
          csrPem,
          { nodeId, clusterId, role: "manager" },
          now,
          90 * 24 * 3600_000,
        );
        const digest = certificateDigest(ca.certificatePem);
        const tokens = { worker: newJoinToken(digest, random), manager: newJoinToken(digest, random) };
        const identity = { keyPem, certificatePem, caPem: ca.certificatePem };
        const advertise = hostPort(host, port);
        mkdirSync(managerDir, { recursive: true, mode: 0o700 });
        writeFileDurably(
          join(managerDir, "bootstrap.json"),
          JSON.stringify({
            clusterId,
            nodeId,
            hostname: ownName(),
            addr: host,
            caKeyPem: ca.keyPem,
            caCertificatePem: ca.certificatePem,
            joinTokenWorker: tokens.worker,
            joinTokenManager: tokens.manager,
            spec: { ...request.spec, name: request.name || request.spec?.name || "default" },
          }),
        );
        save({ advertise, listen: listenAddress(request.listenAddr, port), managers: [advertise] });
        saveIdentity(identityDir, identity);
        membership = { ...identity, nodeId, clusterId, role: "manager" };
        await startManager([]);
        startMember();
        return {
          nodeId,
          clusterId,
          joinTokenWorker: tokens.worker,
          joinTokenManager: tokens.manager,
          advertiseAddr: advertise,
        };
      }),

    join: (request) =>
      exclusively("join", async () => {
        const { caDigest } = parseJoinToken(request.token);
        if (request.remoteAddrs.length === 0)
          throw refuse("invalid", "address", "no manager is named", "tsctl cluster join --token TOKEN ADDRESS:2377");
        const { host, port } = advertiseAddress(request.advertiseAddr);
        let failure: unknown;
        for (const remote of request.remoteAddrs) {
          try {
            const caPem = await fetchCa(remote, caDigest);
            const { keyPem, csrPem } = await createKeyAndRequest();
            const dialed = openChannel(remote, anonymousCredentials(caPem));
            const answer = await createClient(CaDefinition, dialed)
              .issueCertificate(
                { csrPem: Buffer.from(csrPem), token: request.token, nodeId: "", hostname: ownName(), addr: host },
                { deadlineMs: 15_000 },
              )
              .finally(() => dialed.close());
            const identity = { keyPem, certificatePem: answer.certificatePem.toString(), caPem };
            save({
              advertise: hostPort(host, port),
              listen: listenAddress(request.listenAddr, port),
              managers: answer.managerAddrs,
            });
            saveIdentity(identityDir, identity);
            membership = { ...identity, ...readCertificate(identity.certificatePem) };
            if (membership.role === "manager") await startManager(answer.managerAddrs);
            startMember();
            return { nodeId: answer.nodeId, clusterId: answer.clusterId, role: answer.role };
          } catch (error) {
            failure = error;
            if (TswarmError.from(error).code !== "unavailable") break;
          }
        }
        throw failure;
      }),

    leave: (force) =>
      exclusively("leave", async () => {
        if (!membership) throw refuse("conflict", "node", "it is not part of a cluster", "Nothing to leave");
        if (membership.role === "manager" && !force)
          throw refuse(
            "conflict",
            "node",
            "it is a manager: leaving may cost the cluster its quorum",
            "Demote it first (tsctl node demote), or use --force",
          );
        session?.stop();
        session = undefined;
        await options.removeTasks();
        await stopManager();
        forget();
        logger.info("left the cluster");
      }),

    info: () => ({
      nodeId: membership?.nodeId ?? "",
      clusterId: membership?.clusterId ?? "",
      role:
        membership === undefined
          ? NodeRole.NODE_ROLE_UNSPECIFIED
          : membership.role === "manager"
            ? NodeRole.MANAGER
            : NodeRole.WORKER,
      state:
        membership === undefined ? "inactive" : problem !== "" ? "error" : session?.leader() ? "active" : "pending",
      error: problem,
      advertiseAddr: saved?.advertise ?? "",
      managerAddrs: [...(saved?.managers ?? [])],
      managerPid: manager?.pid() ?? 0,
    }),

    control() {
      if (!membership || !saved)
        throw refuse(
          "unavailable",
          "node",
          "it is not part of a cluster",
          "Make one with `tsctl cluster init`, or join one with `tsctl cluster join`",
        );
      if (channel) return channel;
      channel = manager
        ? openChannel(`unix:${managerSocket}`)
        : openChannel(saved.managers[0] ?? "", clientCredentials(membership));
      return channel;
    },

    async stop() {
      session?.stop();
      resetChannel();
      await stopManager();
    },
  };
};
