// others.js PACKAGE FILE SECONDS: messages/s of an npm package: "parse" and "parse, read 5, set 2, write".
// Prints two numbers, or nothing when the package is not installed (NODE_PATH).
'use strict';
const [name, file, seconds] = process.argv.slice(2);
const text = require('fs').readFileSync(file, 'latin1');
let lib;
try { lib = require(name); } catch (e) { process.exit(e.code === 'MODULE_NOT_FOUND' ? 0 : 1); }
let sink = 0;

const ways = {
  'node-hl7-client': () => {
    const parse = () => new lib.Message({ text });
    return [parse, () => {
      const m = parse();
      for (const p of ['PID.5.1', 'PID.3.1', 'MSH.10', 'PV1.3.1', 'PID.7']) sink += m.get(p).toString().length;
      m.set('PID.5.1', 'SMITH');
      m.set('PV1.19', 'V2');
      sink += m.toString().length;
    }];
  },
  'simple-hl7': () => {
    const parser = new lib.Parser();
    const parse = () => parser.parse(text);
    return [parse, () => {
      const m = parse(), pid = m.getSegment('PID'), pv1 = m.getSegment('PV1');
      for (const s of [pid.getComponent(5, 1), pid.getComponent(3, 1), m.header.getField(8),
        pv1.getComponent(3, 1), pid.getField(7)]) sink += String(s).length;
      pid.setComponent(5, 1, 'SMITH');
      pv1.setField(19, 'V2');
      sink += m.toString().length;
    }];
  },
  'hl7-standard': () => {
    const parse = () => { const m = new lib(text); m.transform(); return m; };
    return [parse, () => {
      const m = parse();
      for (const p of ['PID.5.1', 'PID.3.1', 'MSH.10', 'PV1.3.1', 'PID.7']) sink += String(m.get(p)).length;
      m.set('PID.5.1', 'SMITH');
      m.set('PV1.19', 'V2');
      sink += m.build().length;
    }];
  },
};

function rate(fn) {
  let best = 0;
  const stop = process.hrtime.bigint() + BigInt(Math.round(Number(seconds) * 1e9));
  for (let n = 1; process.hrtime.bigint() < stop;) {
    const cpu = process.cpuUsage(), start = process.hrtime.bigint();
    for (let i = 0; i < n; i++) fn();
    const spent = process.cpuUsage(cpu), us = Number(process.hrtime.bigint() - start) / 1000;
    if (us > 2000) best = Math.max(best, n / Math.min(us, spent.user + spent.system) * 1e6);
    else n *= 2;
  }
  return Math.round(best);
}
console.log(ways[name]().map(rate).join(' '));
