// A node's membership: init, join, leave, and what runs while it is a member: the session, and on a manager the manager
// process. One object per agent; it survives changes of membership.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Client } from "@grpc/grpc-js";
import type { Clock } from "#base/clock.ts";
import { refuse, TswarmError } from "#base/errors.ts";
import { newId } from "#base/ids.ts";
import { newJoinToken, parseJoinToken } from "#base/join-token.ts";
import type { Logger } from "#base/log.ts";
import { writeFileDurably } from "#base/node/files.ts";
import {
  deleteIdentity,
  digestOfKey,
  loadIdentity,
  locked,
  lockedSubject,
  type Membership,
  saveIdentity,
} from "#base/node/identity-files.ts";
import {
  certificateDigest,
  createCa,
  createKeyAndRequest,
  issueCertificate,
  readCertificate,
  type Subject,
} from "#base/node/pki.ts";
import type { Random } from "#base/random.ts";
import { newUnlockKey, parseUnlockKey } from "#base/unlock-key.ts";
import type { AgentConfig } from "#node-agent/config.ts";
import { advertiseAddress, hostAddresses, hostPort, listenAddress } from "#node-agent/local/advertise-address.ts";
import { keepRenewed, type Validity } from "#node-agent/local/certificate-renewal.ts";
import { refuseWithQuorum } from "#node-agent/local/lost-quorum.ts";
import { type KeepKeys, type ManagerProcess, startManagerProcess } from "#node-agent/local/manager-process.ts";
import { runRecovery } from "#node-agent/local/recovery-process.ts";
import { requestCertificate } from "#node-agent/local/request-certificate.ts";
import { writePieces } from "#node-agent/local/restore-file.ts";
import { isInQuorum, resign, withdraw } from "#node-agent/local/step-back.ts";
import { type Session, type SessionOptions, startSession } from "#node-agent/session/session.ts";
import { CaDefinition } from "#proto/gen/ca.ts";
import type {
  InfoResponse,
  InitRequest,
  InitResponse,
  JoinRequest,
  JoinResponse,
  RecoverRequest,
  RecoverResponse,
  RestorePiece,
  RestoreResponse,
} from "#proto/gen/node.ts";
import { NodeRole, type NodeSpec } from "#proto/gen/types.ts";
import { connected, createClient, MANAGER_KEEPALIVE, openChannel } from "#proto/rpc/client.ts";
import { anonymousCredentials, clientCredentials, fetchCa } from "#proto/rpc/security.ts";

/** Besides the identity: where this node is reached and whom it knows. */
type Saved = {
  readonly advertise: string;
  readonly listen: string;
  readonly managers: readonly string[];
  /** Given by managers. Which interface a network takes can depend on them, also before a manager is reached. */
  readonly labels?: Readonly<Record<string, string>>;
};

export type Member = {
  readonly nodeId: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
};

export type NodeOptions = {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** What a session needs of the rest of the agent. */
  readonly session: Pick<SessionOptions, "description" | "statuses" | "onAccepted" | "onAssignments" | "onStream">;
  /** The node has an address now, which networking may use as VTEP; again when its labels change. */
  readonly onMember: (member: Member) => void;
  /** Stops all tasks and removes what they had. */
  readonly removeTasks: () => Promise<void>;
  /** Tests run no processes and have addresses of their own. */
  readonly doubles?: {
    readonly startManagerProcess: typeof startManagerProcess;
    readonly startSession: typeof startSession;
    readonly runRecovery: typeof runRecovery;
    readonly hostAddresses: () => Map<string, string[]>;
  };
};

export type ClusterNode = {
  /** Goes on as a member after a restart of the agent. */
  resume(): Promise<void>;
  init(request: InitRequest): Promise<InitResponse>;
  join(request: JoinRequest): Promise<JoinResponse>;
  leave(force: boolean): Promise<void>;
  /** As a manager whose keys are locked. `forbidden`: it is another key. */
  unlock(unlockKey: string): Promise<void>;
  /** As a manager whose quorum is lost for good: goes on as the only manager. */
  recover(request: RecoverRequest): Promise<RecoverResponse>;
  /** The first manager of a cluster that was, from its backup. */
  restore(pieces: AsyncIterable<RestorePiece>): Promise<RestoreResponse>;
  info(): Pick<
    InfoResponse,
    "nodeId" | "clusterId" | "role" | "state" | "error" | "advertiseAddr" | "managerAddrs" | "managerPid"
  >;
  readonly session: () => Session | undefined;
  /** The channel on which this node's tsctl reaches the control API; waits for a manager that starts again. */
  control(): Promise<Client>;
  stop(): Promise<void>;
};

const READY_TIMEOUT_MS = 30_000;
/** What goes on by itself (a manager's start, a change of role) and failed is tried again after this time. */
const RETRY_MS = 5_000;
/** The control plane's default for the others' certificates. */
const DEFAULT_VALIDITY_MS = 90 * 24 * 3_600_000;
const CONTROL_WAIT_MS = 5_000;
/** A manager that leaves waits so long for the others to let it go. */
const LET_GO_MS = 5_000;

export const createClusterNode = (options: NodeOptions): ClusterNode => {
  const { config, clock, random, logger } = options;
  const parts = { startManagerProcess, startSession, runRecovery, hostAddresses, ...options.doubles };
  const identityDir = join(config.dataDir, "identity");
  const managerDir = join(config.dataDir, "manager");
  const savedPath = join(config.dataDir, "node.json");
  const managerSocket = join(config.runDir, "manager.sock");

  let membership: Membership | undefined;
  /** Who this node is while its keys are locked: what runs on it goes on, but it can't speak for itself. */
  let lockedAs: Subject | undefined;
  /** Seals the identity's file; empty: autolock is off, or this is no manager. */
  let unlockKey = "";
  let saved: Saved | undefined;
  let manager: ManagerProcess | undefined;
  let session: Session | undefined;
  let channel: Client | undefined;
  let problem = "";
  let busy = false;
  let stopped = false;
  let wanted: NodeSpec | undefined;
  let managerRemoved = false;
  /** Its manager has joined the quorum at some time, with the log that it has. */
  let hasJoined = false;
  let asksQuorum = false;
  let stopRenewal = () => {};
  let onToldManagers = () => {};

  const save = (next: Saved): void => {
    saved = next;
    writeFileDurably(savedPath, JSON.stringify(next));
  };

  const bootstrapPath = join(managerDir, "bootstrap.json");
  const startManager = async (): Promise<void> => {
    // The keys beside the log are there before it asks to be let in.
    hasJoined = existsSync(join(managerDir, "raft", "wal"));
    mkdirSync(managerDir, { recursive: true, mode: 0o700 });
    // Needed only while there is no log yet: also when a start before this one was cut off.
    const others = existsSync(bootstrapPath) ? [] : saved!.managers.filter((a) => a !== saved!.advertise);
    manager = parts.startManagerProcess(
      [
        `--data-dir=${managerDir}`,
        `--identity-dir=${identityDir}`,
        `--socket=${managerSocket}`,
        `--listen=${saved!.listen}`,
        `--advertise=${saved!.advertise}`,
        `--join=${others.join(",")}`,
        `--log-level=${config.logLevel}`,
      ],
      clock,
      logger,
      { unlockKey: () => unlockKey, keep: keepKeys, removed },
    );
    const cancel = clock.after(READY_TIMEOUT_MS, () => logger.warn("manager is not ready yet"));
    await manager.ready.finally(cancel);
    hasJoined = true;
  };

  /** Where nobody waits for the manager: tries until it serves. */
  const keepStartingManager = async (): Promise<void> => {
    if (stopped || manager || membership?.role !== "manager") return;
    try {
      await startManager();
      problem = "";
    } catch (error) {
      problem = TswarmError.from(error).message;
      logger.error("manager not started, will try again", { error });
      await stopManager();
      clock.after(RETRY_MS, () => void keepStartingManager());
    }
  };

  /** The manager has its log wrapped as the cluster wants it, and does not need the former keys any more. */
  const keepKeys: KeepKeys = ({ unlockKey: wantedKey, keyDigest }) => {
    if (membership?.role !== "manager" || digestOfKey(membership.keyPem) !== keyDigest) return false;
    const { formerKeyPems: _, ...kept } = membership;
    saveIdentity(identityDir, kept, wantedKey);
    membership = kept;
    unlockKey = wantedKey;
    return true;
  };

  const removed = (): void => {
    managerRemoved = true;
    void followRole();
  };

  const stopManager = async (): Promise<void> => {
    await manager?.stop();
    manager = undefined;
    managerRemoved = false;
  };

  const resetChannel = (): void => {
    channel?.close();
    channel = undefined;
  };

  const hostOf = (address: string): string => address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");

  const startMember = (): void => {
    tellMember();
    openSession();
    stopRenewal();
    stopRenewal = keepRenewed(readCertificate(membership!.certificatePem), { clock, random, logger, renew });
  };

  const tellMember = (): void => {
    const { advertise, labels = {} } = saved!;
    options.onMember({ nodeId: (membership ?? lockedAs)!.nodeId, address: hostOf(advertise), labels });
  };

  /** An own manager follows the log: it knows who leads, also when those that the agent was told of are gone. */
  const whomToAsk = (): readonly string[] => {
    const known = saved?.managers ?? [];
    return manager === undefined || known.includes(saved!.advertise) ? known : [...known, saved!.advertise];
  };

  const openSession = (): void => {
    session?.stop();
    const credentials = clientCredentials(membership!);
    session = parts.startSession({
      ...options.session,
      clock,
      random,
      logger,
      addr: hostOf(saved!.advertise),
      managers: whomToAsk,
      dial: (address) => openChannel(address, credentials),
      onManagers(addresses, _leader, node) {
        if (!saved) return;
        if (addresses.length > 0 && addresses.join() !== saved.managers.join()) {
          save({ ...saved, managers: addresses });
          if (membership?.role !== "manager") resetChannel();
        }
        wanted = node;
        const labels = node?.annotations?.labels ?? {};
        if (node !== undefined && JSON.stringify(labels) !== JSON.stringify(saved.labels ?? {})) {
          save({ ...saved, labels });
          tellMember();
        }
        onToldManagers();
        void followRole();
      },
      onRemoved(reason) {
        problem = `removed from the cluster: ${reason}. Run \`tsctl cluster leave --force\`, then join again.`;
        logger.error("removed from the cluster", { reason });
        session = undefined;
        stopRenewal();
        // The others run them elsewhere by now, some with the same addresses.
        options.removeTasks().catch((error) => logger.error("tasks not removed", { error }));
      },
    });
  };

  /** The managers to ask for a certificate: the own one last, it may just be leaving the quorum. */
  const askFirst = (): string[] => {
    const { managers, advertise } = saved!;
    return [...managers.filter((a) => a !== advertise), ...managers.filter((a) => a === advertise)];
  };

  /** A manager's log is wrapped with the former key until the manager has seen the new one; or with the unlock key. */
  const adopt = (next: Membership): void => {
    const { keyPem, formerKeyPems = [], role } = membership!;
    const stays = role === "manager" && next.role === "manager";
    if (!stays) unlockKey = "";
    const adopted = stays && unlockKey === "" ? { ...next, formerKeyPems: [keyPem, ...formerKeyPems] } : next;
    saveIdentity(identityDir, adopted, unlockKey);
    membership = adopted;
    resetChannel();
  };

  const renew = async (): Promise<Validity> => {
    const before = membership;
    if (busy || !before) throw new TswarmError("unavailable", "the membership is changing");
    const { membership: renewed } = await requestCertificate(before, askFirst());
    if (membership !== before || renewed.role !== before.role)
      throw new TswarmError("unavailable", "the membership is changing");
    adopt(renewed);
    manager?.reload();
    openSession();
    return renewed;
  };

  /**
   * The role is the node's desired state: a promoted node becomes a manager by itself, a demoted one a worker. It stays a
   * manager until the others have let it go: they may need its vote for that.
   */
  const followRole = async (): Promise<void> => {
    if (busy || stopped || !membership || !saved || !wanted) return;
    const role = wanted.role === NodeRole.MANAGER ? "manager" : "worker";
    const isListed = saved.managers.includes(saved.advertise);
    if (role === membership.role) {
      if (role === "manager" && !isListed && (await isLeftOut())) await joinQuorumAnew();
      return;
    }
    if (role === "worker" && isListed) return;
    busy = true;
    try {
      logger.info("role changes", { from: membership.role, to: role });
      const { membership: next } = await requestCertificate(membership, askFirst());
      if (next.role !== role) throw new TswarmError("unavailable", `the cluster still says ${next.role}`);
      if (role === "worker") {
        await stopManager();
        rmSync(managerDir, { recursive: true, force: true });
      }
      adopt(next);
      startMember();
      void keepStartingManager();
    } catch (error) {
      logger.error("role not changed, will try again", { error });
      clock.after(RETRY_MS, () => void followRole());
    } finally {
      busy = false;
    }
  };

  /**
   * Who was removed while it was down may have nobody left to tell it: those that it knew in the quorum can be gone too. The
   * cluster knows; a member that just joins is none yet.
   */
  const isLeftOut = async (): Promise<boolean> => {
    if (managerRemoved || !hasJoined || asksQuorum) return managerRemoved;
    asksQuorum = true;
    const asked = manager;
    try {
      const inQuorum = await isInQuorum(membership!, askFirst());
      // The answer is for the member that was asked about, if it is still to be one.
      return !inQuorum && !busy && !stopped && manager === asked && wanted?.role === NodeRole.MANAGER;
    } catch (error) {
      logger.warn("does not know whether it is in the quorum, will ask again", { error });
      clock.after(RETRY_MS, () => void followRole());
      return false;
    } finally {
      asksQuorum = false;
    }
  };

  /** Demoted and promoted again before it knew: the member that it was is gone for good, it becomes another. */
  const joinQuorumAnew = async (): Promise<void> => {
    busy = true;
    try {
      logger.info("was removed from the quorum and is to be a manager: joins it anew");
      await stopManager();
      rmSync(managerDir, { recursive: true, force: true });
    } finally {
      busy = false;
    }
    void keepStartingManager();
  };

  /** The cluster takes this node for a worker, and the managers that are left no longer need its vote. */
  const isLetGo = () => wanted?.role === NodeRole.WORKER && !saved?.managers.includes(saved.advertise);

  /** Gone without a word, this manager would be missed in every vote. Where nobody answers, it goes all the same. */
  const leaveQuorum = async (): Promise<void> => {
    const others = saved!.managers.filter((a) => a !== saved!.advertise);
    if (!session || others.length === 0) return;
    try {
      await resign(membership!, others);
      await new Promise<void>((resolve, reject) => {
        const cancel = clock.after(LET_GO_MS, () =>
          reject(new TswarmError("unavailable", `not out of the quorum within ${LET_GO_MS / 1000} s`)),
        );
        onToldManagers = () => {
          if (!isLetGo()) return;
          cancel();
          resolve();
        };
        onToldManagers();
      });
    } catch (error) {
      logger.warn("leaves without the other managers' consent", { error });
    } finally {
      onToldManagers = () => {};
    }
  };

  /** One change of membership at a time, and none half made: what fails takes back what it wrote. */
  const exclusively = async <T>(what: "enter" | "leave" | "recover" | "unlock", work: () => Promise<T>): Promise<T> => {
    if (busy) throw refuse("conflict", "node", "another init, join or leave is under way", "Wait for it to end");
    if (what === "enter" && (membership || lockedSubject(identityDir) || loadIdentity(identityDir)))
      throw refuse("conflict", "node", "it is already part of a cluster", "Leave it first: tsctl cluster leave");
    busy = true;
    try {
      // What an interrupted init, join or leave has left; above all a log of another cluster.
      if (what === "enter") forget();
      return await work();
    } catch (error) {
      if (what === "enter") {
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
    stopRenewal();
    membership = undefined;
    lockedAs = undefined;
    unlockKey = "";
    saved = undefined;
    wanted = undefined;
    problem = "";
    resetChannel();
    deleteIdentity(identityDir);
    rmSync(managerDir, { recursive: true, force: true });
    rmSync(savedPath, { force: true });
  };

  /** The first manager that answers registers this node and signs its certificate. */
  const introduce = async ({ token, remoteAddrs }: JoinRequest, caDigest: string, addr: string) => {
    let failure: unknown;
    for (const remote of remoteAddrs) {
      try {
        const caPem = await fetchCa(remote, caDigest);
        const { keyPem, csrPem } = await createKeyAndRequest();
        const dialed = openChannel(remote, anonymousCredentials(caPem));
        const answer = await createClient(CaDefinition, dialed)
          .issueCertificate(
            { csrPem: Buffer.from(csrPem), token, nodeId: "", hostname: ownName(), addr },
            { deadlineMs: 15_000 },
          )
          .finally(() => dialed.close());
        return { identity: { keyPem, certificatePem: answer.certificatePem.toString(), caPem }, answer };
      } catch (error) {
        failure = error;
        if (TswarmError.from(error).code !== "unavailable") break;
      }
    }
    throw failure;
  };

  /**
   * A node that is in the cluster of the token already, and reaches none of the managers that it knows, is told another: the
   * cluster may have been restored there. undefined: it is not such a node.
   */
  const pointElsewhere = ({ token, remoteAddrs }: JoinRequest): Promise<JoinResponse> | undefined => {
    const known = membership;
    if (busy || !known || session?.leader() !== undefined) return undefined;
    const { caDigest } = parseJoinToken(token);
    if (caDigest !== certificateDigest(known.caPem)) return undefined;
    const { nodeId, clusterId } = known;
    const ask = async (): Promise<JoinResponse> => {
      let failure: unknown;
      for (const remote of remoteAddrs) {
        try {
          await fetchCa(remote, caDigest);
          if (membership !== known || busy) break;
          save({ ...saved!, managers: [remote] });
          resetChannel();
          openSession();
          return { nodeId, clusterId, role: roleOf(known) };
        } catch (error) {
          failure = error;
        }
      }
      throw failure ?? new TswarmError("unavailable", "the membership is changing: try again");
    };
    return ask();
  };

  /** The agent was started with another address than this node had. */
  const move = (given: string): void => {
    const { host, port } = advertiseAddress(given, parts.hostAddresses());
    const before = saved!;
    const advertise = hostPort(host, port);
    if (advertise === before.advertise) return;
    const was = { host: hostOf(before.advertise), port: Number(before.advertise.replace(/^.*:/, "")) };
    // Where it listens only when nobody chose that.
    const listen = before.listen === listenAddress("", was) ? listenAddress("", { host, port }) : before.listen;
    const managers = before.managers.map((address) => (address === before.advertise ? advertise : address));
    save({ ...before, advertise, listen, managers });
    logger.info("this node has another address", { from: before.advertise, to: advertise });
  };

  const roleOf = (subject: Subject | undefined): NodeRole =>
    subject === undefined
      ? NodeRole.NODE_ROLE_UNSPECIFIED
      : subject.role === "manager"
        ? NodeRole.MANAGER
        : NodeRole.WORKER;

  const ownName = () => config.hostname ?? hostname();

  return {
    session: () => session,
    async resume() {
      lockedAs = lockedSubject(identityDir);
      if (!lockedAs) membership = loadIdentity(identityDir);
      if (!membership && !lockedAs) return;
      saved = JSON.parse(readFileSync(savedPath, "utf8"));
      if (config.advertiseAddr !== "") move(config.advertiseAddr);
      if (lockedAs) {
        logger.warn("locked: the manager starts when the unlock key is given");
        tellMember();
        return;
      }
      startMember();
      await keepStartingManager();
    },

    init: (request) =>
      exclusively("enter", async () => {
        const { host, port } = advertiseAddress(request.advertiseAddr, parts.hostAddresses());
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
          request.spec?.certValidityMs || DEFAULT_VALIDITY_MS,
        );
        const digest = certificateDigest(ca.certificatePem);
        const tokens = { worker: newJoinToken(digest, random), manager: newJoinToken(digest, random) };
        const firstKey = request.spec?.autolock ? newUnlockKey(random) : "";
        const identity = { keyPem, certificatePem, caPem: ca.certificatePem };
        const advertise = hostPort(host, port);
        mkdirSync(managerDir, { recursive: true, mode: 0o700 });
        writeFileDurably(
          bootstrapPath,
          JSON.stringify({
            clusterId,
            nodeId,
            hostname: ownName(),
            addr: host,
            caKeyPem: ca.keyPem,
            caCertificatePem: ca.certificatePem,
            joinTokenWorker: tokens.worker,
            joinTokenManager: tokens.manager,
            unlockKey: firstKey,
            spec: { ...request.spec, name: request.name || request.spec?.name || "default" },
          }),
        );
        save({ advertise, listen: listenAddress(request.listenAddr, { host, port }), managers: [advertise] });
        saveIdentity(identityDir, identity);
        membership = { ...identity, nodeId, clusterId, role: "manager" };
        await startManager();
        startMember();
        return {
          nodeId,
          clusterId,
          joinTokenWorker: tokens.worker,
          joinTokenManager: tokens.manager,
          advertiseAddr: advertise,
          unlockKey: firstKey,
        };
      }),

    join: (request) =>
      pointElsewhere(request) ??
      exclusively("enter", async () => {
        const { caDigest } = parseJoinToken(request.token);
        if (request.remoteAddrs.length === 0)
          throw refuse("invalid", "address", "no manager is named", "tsctl cluster join --token TOKEN ADDRESS:2377");
        const { host, port } = advertiseAddress(request.advertiseAddr, parts.hostAddresses());
        const { identity, answer } = await introduce(request, caDigest, host);
        save({
          advertise: hostPort(host, port),
          listen: listenAddress(request.listenAddr, { host, port }),
          managers: answer.managerAddrs,
        });
        saveIdentity(identityDir, identity);
        membership = { ...identity, ...readCertificate(identity.certificatePem) };
        const joined = membership;
        if (joined.role === "manager")
          await startManager().catch(async (error) => {
            await withdraw(joined, answer.managerAddrs).catch((e) => logger.warn("still registered", { error: e }));
            throw error;
          });
        startMember();
        return { nodeId: answer.nodeId, clusterId: answer.clusterId, role: answer.role };
      }),

    leave: (force) =>
      exclusively("leave", async () => {
        const subject = membership ?? lockedAs;
        if (!subject) throw refuse("conflict", "node", "it is not part of a cluster", "Nothing to leave");
        if (subject.role === "manager" && !force)
          throw refuse(
            "conflict",
            "node",
            "it is a manager: leaving may cost the cluster its quorum",
            "Demote it first (tsctl node demote), or use --force",
          );
        if (subject.role === "manager") await leaveQuorum();
        session?.stop();
        session = undefined;
        await options.removeTasks();
        await stopManager();
        forget();
        logger.info("left the cluster");
      }),

    restore: (pieces) =>
      exclusively("enter", async () => {
        const iterator = pieces[Symbol.asyncIterator]();
        const first = (await iterator.next()).value?.piece;
        if (first?.$case !== "start") throw new TswarmError("invalid", "a restore begins with its start");
        const { host, port } = advertiseAddress(first.value.advertiseAddr, parts.hostAddresses());
        const advertise = hostPort(host, port);
        mkdirSync(managerDir, { recursive: true, mode: 0o700 });
        const backup = join(managerDir, "backup");
        await writePieces(backup, iterator);
        // Before the identity, which makes this node a member.
        save({ advertise, listen: listenAddress(first.value.listenAddr, { host, port }), managers: [advertise] });
        const request = { kind: "restore", dataDir: managerDir, identityDir, advertise };
        const restored = await parts.runRecovery<Omit<RestoreResponse, "advertiseAddr">>({
          ...request,
          ...{ backup, hostname: ownName(), addr: host, unlockKey: first.value.unlockKey },
        });
        membership = loadIdentity(identityDir)!;
        await startManager();
        startMember();
        return { ...restored, advertiseAddr: advertise };
      }),

    recover: () =>
      exclusively("recover", async () => {
        if (lockedAs) throw locked();
        if (membership?.role !== "manager" || !saved)
          throw refuse(
            "conflict",
            "node",
            "it is not a manager",
            "Recover on a manager: only these have the cluster's log",
          );
        const { nodeId } = membership;
        const { advertise, managers } = saved;
        const credentials = clientCredentials(membership);
        const own = manager && openChannel(`unix:${managerSocket}`);
        const others = managers.filter((a) => a !== advertise).map((a) => openChannel(a, credentials));
        await refuseWithQuorum(own, others).finally(() => {
          for (const channel of [own, ...others]) channel?.close();
        });
        logger.warn("goes on as the only manager", { former: managers });
        await stopManager();
        try {
          const request = { kind: "recover", dataDir: managerDir, identityDir, advertise, unlockKey };
          const recovered = await parts.runRecovery<Omit<RecoverResponse, "nodeId">>(request);
          save({ ...saved, managers: [advertise] });
          return { nodeId, ...recovered };
        } finally {
          resetChannel();
          await keepStartingManager();
          if (!stopped) openSession();
        }
      }),

    async unlock(written) {
      const given = parseUnlockKey(written);
      await exclusively("unlock", async () => {
        if (!lockedAs) throw refuse("conflict", "node", "it is not locked", "Nothing to unlock");
        membership = loadIdentity(identityDir, given);
        unlockKey = given;
        lockedAs = undefined;
        logger.info("unlocked");
        startMember();
      });
      await keepStartingManager();
    },

    info: () => ({
      nodeId: (membership ?? lockedAs)?.nodeId ?? "",
      clusterId: (membership ?? lockedAs)?.clusterId ?? "",
      role: roleOf(membership ?? lockedAs),
      state: lockedAs
        ? "locked"
        : membership === undefined
          ? "inactive"
          : problem !== ""
            ? "error"
            : session?.leader()
              ? "active"
              : "pending",
      error: lockedAs ? locked().message : problem,
      advertiseAddr: saved?.advertise ?? "",
      managerAddrs: [...(saved?.managers ?? [])],
      managerPid: manager?.pid() ?? 0,
    }),

    async control() {
      if (lockedAs) throw locked();
      if (!membership || !saved)
        throw refuse(
          "unavailable",
          "node",
          "it is not part of a cluster",
          "Make one with `tsctl cluster init`, or join one with `tsctl cluster join`",
        );
      // Its own manager also while that is not there: it comes back, and another one's host may be cut off.
      const own = membership.role === "manager";
      channel ??= own
        ? openChannel(`unix:${managerSocket}`)
        : openChannel(saved.managers[0] ?? "", clientCredentials(membership), MANAGER_KEEPALIVE);
      const found = channel;
      if (!(await connected(found, CONTROL_WAIT_MS)))
        throw new TswarmError(
          "unavailable",
          own
            ? `the manager of this node does not answer: ${problem || "see the agent's log"}`
            : `the manager ${saved.managers[0]} does not answer`,
        );
      return found;
    },

    async stop() {
      stopped = true;
      stopRenewal();
      session?.stop();
      resetChannel();
      await stopManager();
    },
  };
};
