// Sysctls of a namespace: /proc/sys/net shows those of the thread that opens the file.
// Exports: readSysctl(netnsPath | null, name), writeSysctl(netnsPath | null, name, value). Names with slashes or dots, as in
// "net/ipv4/conf/eth0.5/forwarding": with dots only when no component contains one.
import { readFileSync, writeFileSync } from "node:fs";
import { TswarmError } from "#base/errors.ts";
import { withNetns } from "./netns.ts";

const pathOf = (name: string): string => {
  const relative = name.includes("/") ? name : name.replaceAll(".", "/");
  if (!relative.startsWith("net/") || relative.split("/").includes("..")) {
    throw new TswarmError("invalid", `sysctl ${name}: only net/… belongs to a network namespace`);
  }
  return `/proc/sys/${relative}`;
};

const refused = (name: string, error: unknown): TswarmError => {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT")
    return new TswarmError("not_found", `sysctl ${name}: this kernel or namespace has none of that name`, {
      cause: error,
    });
  return new TswarmError(code === "EINVAL" ? "invalid" : "internal", `sysctl ${name}: ${(error as Error).message}`, {
    cause: error,
  });
};

export const readSysctl = (netnsPath: string | null, name: string): string =>
  withNetns(netnsPath, () => {
    try {
      return readFileSync(pathOf(name), "utf8").trim();
    } catch (error) {
      throw error instanceof TswarmError ? error : refused(name, error);
    }
  });

export const writeSysctl = (netnsPath: string | null, name: string, value: string | number): void =>
  withNetns(netnsPath, () => {
    try {
      writeFileSync(pathOf(name), String(value));
    } catch (error) {
      throw error instanceof TswarmError ? error : refused(name, error);
    }
  });
