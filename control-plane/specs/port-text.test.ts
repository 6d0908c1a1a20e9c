import { expect } from "chai";
import { parseShortPort } from "./port-text.ts";
import { protocolName } from "./ports.ts";

const READ: [string, string[]][] = [
  ["80", ["0:80/tcp"]],
  ["8080:80", ["8080:80/tcp"]],
  ["8080:80/udp", ["8080:80/udp"]],
  ["53:53/SCTP", ["53:53/sctp"]],
  ["127.0.0.1:8080:80", ["127.0.0.1 8080:80/tcp"]],
  ["127.0.0.1::80", ["127.0.0.1 0:80/tcp"]],
  ["[::1]:8080:80/udp", ["::1 8080:80/udp"]],
  ["[fd00::1]::80", ["fd00::1 0:80/tcp"]],
  ["8000-8002:80-82", ["8000:80/tcp", "8001:81/tcp", "8002:82/tcp"]],
  ["8000-8001:80", ["8000:80/tcp", "8001:80/tcp"]],
  ["80-81", ["0:80/tcp", "0:81/tcp"]],
];
const REFUSED: [string, string][] = [
  ["", '"" is not a port'],
  ["http", '"http" is not a port'],
  ["8080:", '"8080:" is not a port'],
  ["8080:http", '"8080:http" is not a port'],
  ["http:80", '"http:80" is not a port'],
  ["127.0.0.1:80", '"127.0.0.1:80" is not a port'],
  ["::1:8080:80", '"::1:8080:80" is not a port'],
  ["8080:80/icmp", '"icmp" in "8080:80/icmp" is no protocol'],
  ["90-80", '"90-80" is not a port'],
  ["70000:80", '"70000:80" is not a port'],
  ["8000-8001:80-82", 'the ranges in "8000-8001:80-82" have different sizes'],
  ["8000:80-82", 'the ranges in "8000:80-82" have different sizes'],
];

describe("short form of published ports", () => {
  for (const [text, expected] of READ)
    it(`reads ${text}`, () => {
      const read = parseShortPort(text);
      if (typeof read === "string") throw new Error(read);
      expect(
        read.map((p) => `${p.hostIp}${p.hostIp && " "}${p.published}:${p.target}/${protocolName(p.protocol)}`),
      ).to.deep.equal(expected);
    });
  for (const [text, reason] of REFUSED)
    it(`refuses ${JSON.stringify(text)}`, () => expect(parseShortPort(text)).to.equal(reason));
});
