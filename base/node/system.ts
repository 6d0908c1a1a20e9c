// The real clock, randomness and log of a process.
import { randomBytes } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import type { Fields, Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = {
  float: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  int: (below) => Math.floor(systemRandom.float() * below),
};

const LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LEVELS)[number];

/** JSON lines: {"t": ISO time, "level", "msg", …fields}. Errors among the fields are written as message and stack. */
export const jsonLogger = (write: (line: string) => void, minimum: LogLevel, base: Fields = {}): Logger => {
  const log = (level: LogLevel, msg: string, fields?: Fields) => {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(minimum)) return;
    const line = { t: new Date().toISOString(), level, msg, ...base, ...fields };
    write(`${JSON.stringify(line, (_, v) => (v instanceof Error ? { message: v.message, stack: v.stack } : v))}\n`);
  };
  return {
    debug: (m, f) => log("debug", m, f),
    info: (m, f) => log("info", m, f),
    warn: (m, f) => log("warn", m, f),
    error: (m, f) => log("error", m, f),
    with: (fields) => jsonLogger(write, minimum, { ...base, ...fields }),
  };
};
