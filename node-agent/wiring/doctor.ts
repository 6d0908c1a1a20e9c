// Repairs what others change of this node's networking, soon after the kernel says so and by a full pass now and then, and
// keeps what it found for whoever asks.
//
// Who changes the same again and again is answered later each time: two programs that undo each other's work without a pause
// would cost the node more than the difference.

import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { ApplyError, ApplyReport, InspectReport } from "#net/exec/host-networking.ts";
import { type Difference, renderDifference } from "#net/plan/differences.ts";
import type { DoctorResponse, Finding } from "#proto/gen/control.ts";

/** A full pass over the kernel takes some 0.2 s of a worker for 100 containers. */
const FULL_PASS_MS = 60_000;
/** One command of others makes several notifications. */
const DEBOUNCE_MS = 100;
/** So many repairs in a namespace within the time are answered at once. */
const PATIENCE = 5;
const PATIENCE_MS = 60_000;
const MOST_DELAY_MS = 10_000;
const MOST_KEPT = 100;

export type Doctor = {
  /** Others changed something in these namespaces. */
  disturbed(namespaces: readonly string[]): void;
  /** What differs now, and what was repaired lately. `repair`: after a full pass. */
  examine(request: { readonly repair: boolean }): Promise<DoctorReport>;
  /** Calls back with each repair until the returned function is called. */
  follow(callback: (findings: readonly Finding[]) => void): () => void;
  stop(): void;
};

export type DoctorReport = Pick<DoctorResponse, "findings" | "checked" | "durationUs">;

export type DoctorOptions = {
  readonly clock: Clock;
  readonly logger: Logger;
  /** False: nothing is to be had in the kernel, and nothing is looked at. */
  readonly isWired: () => boolean;
  /** Resolves when what is wanted was tried once, whatever others did. */
  readonly settle: () => Promise<unknown>;
  /** `namespaces` absent: all. */
  readonly repair: (namespaces?: ReadonlySet<string>) => Promise<ApplyReport>;
  readonly inspect: () => Promise<InspectReport>;
  readonly portErrors: () => readonly string[];
  readonly objectInWords: (difference: Difference) => string;
};

type Repaired = Finding & { readonly times: number };

const keyOf = ({ namespace, kind, object }: Difference): string => `${namespace} ${kind} ${object}`;

export const startDoctor = (options: DoctorOptions): Doctor => {
  const { clock, logger } = options;
  /** Namespaces to look at: since when (wall clock) and from when on (monotonic). */
  const pending = new Map<string, { readonly since: number; readonly dueAt: number }>();
  const repaired = new Map<string, Repaired>();
  /** When a namespace was repaired, the last times. */
  const repairs = new Map<string, number[]>();
  const firstSeen = new Map<string, number>();
  const followers = new Set<(findings: readonly Finding[]) => void>();
  let failures: readonly ApplyError[] = [];
  let cancelPending: (() => void) | undefined;
  let cancelPass = (): void => {};
  let stopped = false;

  const lately = (ns: string): number[] => (repairs.get(ns) ?? []).filter((at) => at > clock.monotonic() - PATIENCE_MS);
  const delayMs = (ns: string): number =>
    Math.min(DEBOUNCE_MS * 2 ** Math.max(lately(ns).length - PATIENCE, 0), MOST_DELAY_MS);

  const findingOf = (difference: Difference, change: Partial<Finding>): Finding => {
    const { kind, problem, expected, found } = difference;
    return {
      kind,
      object: options.objectInWords(difference),
      problem,
      expected,
      found,
      since: 0,
      action: "",
      at: 0,
      ...change,
    };
  };

  const failureOf = (difference: Difference): ApplyError | undefined =>
    failures.find(
      ({ namespace, object }) =>
        namespace === difference.namespace && object.includes(difference.object.split(" ")[0]!),
    );

  const note = ({ drift, errors }: ApplyReport, since: ReadonlyMap<string, number>): void => {
    failures = errors;
    for (const error of errors) logger.error("not repaired", { ...error });
    if (drift.length === 0) return;
    logger.warn("repaired what others changed", { changes: drift.map(renderDifference) });
    const findings: Finding[] = [];
    for (const difference of drift) {
      const key = keyOf(difference);
      const times = (repaired.get(key)?.times ?? 0) + 1;
      const failure = failureOf(difference);
      const action = failure
        ? `failed: ${failure.reason}`
        : times === 1
          ? "repaired"
          : `repaired; changed again ${times === 2 ? "once" : `${times - 1} times`} by others`;
      const finding = findingOf(difference, {
        since: firstSeen.get(key) ?? since.get(difference.namespace) ?? clock.now(),
        action,
        at: clock.now(),
      });
      repaired.delete(key);
      repaired.set(key, { ...finding, times });
      findings.push(finding);
    }
    for (const key of repaired.keys()) if (repaired.size > MOST_KEPT) repaired.delete(key);
    for (const ns of new Set(drift.map(({ namespace }) => namespace))) {
      const times = [...lately(ns), clock.monotonic()];
      repairs.set(ns, times);
      if (times.length === PATIENCE + 1)
        logger.warn("others keep changing what is ours: repairs wait longer each time", { namespace: ns || "host" });
    }
    for (const [ns] of repairs) if (lately(ns).length === 0) repairs.delete(ns);
    for (const callback of followers) callback(findings);
  };

  const schedule = (): void => {
    cancelPending?.();
    cancelPending = undefined;
    if (stopped || pending.size === 0) return;
    const next = Math.min(...[...pending.values()].map(({ dueAt }) => dueAt));
    cancelPending = clock.after(Math.max(next - clock.monotonic(), 0), () => {
      cancelPending = undefined;
      void repairPending();
    });
  };

  const repairPending = async (): Promise<void> => {
    const due = new Map(
      [...pending].filter(([, { dueAt }]) => dueAt <= clock.monotonic()).map(([ns, p]) => [ns, p.since]),
    );
    for (const ns of due.keys()) pending.delete(ns);
    try {
      if (options.isWired() && due.size > 0) note(await options.repair(new Set(due.keys())), due);
    } catch (error) {
      if (!stopped) logger.warn("repair failed", { error });
    } finally {
      schedule();
    }
  };

  const fullPass = async (): Promise<void> => {
    if (!options.isWired()) return;
    const since = new Map([...pending].map(([ns, p]) => [ns, p.since]));
    pending.clear();
    note(await options.repair(), since);
  };
  const passLater = (): void => {
    cancelPass = clock.after(FULL_PASS_MS, () =>
      fullPass()
        .catch((error) => logger.warn("repair failed", { error }))
        .finally(() => stopped || passLater()),
    );
  };
  passLater();

  const portFindings = (): Finding[] =>
    options.portErrors().map((error) => {
      const key = `port ${error}`;
      if (!firstSeen.has(key)) firstSeen.set(key, clock.now());
      const action = "will be published when it is free";
      return {
        kind: "port",
        object: error.split(" of ")[0]!,
        problem: "missing",
        expected: "published",
        found: error,
        since: firstSeen.get(key)!,
        action,
        at: 0,
      };
    });

  const disturbed = (namespaces: readonly string[]): void => {
    for (const ns of namespaces)
      if (!pending.has(ns)) pending.set(ns, { since: clock.now(), dueAt: clock.monotonic() + delayMs(ns) });
    schedule();
  };

  return {
    disturbed,
    async examine({ repair }) {
      if (!options.isWired()) return { findings: portFindings(), checked: 0, durationUs: 0 };
      await options.settle();
      if (repair) await fullPass();
      const { differences, checked, durationUs } = await options.inspect();
      const now = new Set(differences.map(keyOf));
      for (const key of firstSeen.keys()) if (!now.has(key) && !key.startsWith("port ")) firstSeen.delete(key);
      const open = differences.map((difference) => {
        const key = keyOf(difference);
        if (!firstSeen.has(key)) firstSeen.set(key, pending.get(difference.namespace)?.since ?? clock.now());
        const failure = failureOf(difference);
        return findingOf(difference, {
          since: firstSeen.get(key)!,
          action: failure === undefined ? "will be repaired" : `failed: ${failure.reason}`,
        });
      });
      disturbed([...new Set(differences.map(({ namespace }) => namespace))]);
      const done = [...repaired].filter(([key]) => !now.has(key)).map(([, { times: _times, ...finding }]) => finding);
      return { findings: [...open, ...portFindings(), ...done], checked, durationUs };
    },
    follow(callback) {
      followers.add(callback);
      return () => void followers.delete(callback);
    },
    stop() {
      stopped = true;
      cancelPending?.();
      cancelPass();
    },
  };
};
