import { done, type Answer } from '../answer.js';
import { Arguments } from '../arguments.js';
import { RefusedError } from '../client.js';
import type { Command, Context, Prepared } from '../command.js';
import { healJson } from '../json.js';
import type { VolumeHeal } from '../model.js';
import { printable } from '../printable.js';
import { healCountText, healInfoText, healSplitBrainText, healSummaryText } from '../text/heal.js';
import { generic } from '../xml/document.js';
import { healCountXml, healInfoXml, healSplitBrainXml, healSummaryXml } from '../xml/heal.js';

const PATTERN = '<VOLNAME> [enable | full | statistics heal-count | info [summary | split-brain]]';
const USAGE = `volume heal ${PATTERN}`;

const ACTIONS = ['enable', 'disable', 'full', 'statistics', 'info', 'split-brain', 'granular-entry-heal'] as const;
const VIEWS = ['summary', 'split-brain'] as const;

type Report = (heal: VolumeHeal, context: Context) => Answer;

const listed: Report = (heal, { terminal }) => ({
  text: () => healInfoText(heal, terminal.outputIsTerminal),
  xml: () => [healInfoXml(heal)],
  json: () => healJson(heal, true),
});

const summary: Report = (heal, { terminal }) => ({
  text: () => healSummaryText(heal, terminal.outputIsTerminal),
  xml: () => [healSummaryXml(heal)],
  json: () => healJson(heal, false),
});

const splitBrain: Report = (heal) => ({
  text: () => healSplitBrainText(heal),
  xml: () => [healSplitBrainXml(heal)],
  json: () => healJson(heal, false),
});

const counts: Report = (heal) => ({
  text: () => healCountText(heal, `Entries to be healed on volume ${printable(heal.name)}`),
  xml: () => [healCountXml(heal)],
  json: () => healJson(heal, false),
});

function reporting(name: string, report: Report): Prepared {
  return {
    operation: `volume heal: ${printable(name)}`,
    run: async (context) => report(await context.client.healInfo(name), context),
  };
}

function launching(name: string, full: boolean): Prepared {
  const what = full ? 'every file of every brick is compared' : 'what differs is copied';
  const sentence = `volume heal: ${printable(name)}: success: ${what}; watch it with 'gluon volume heal ${printable(name)} info'`;
  return {
    operation: `volume heal: ${printable(name)}`,
    async run({ client }) {
      const { warnings } = await client.heal(name, full);
      return done(sentence, generic('volHeal', sentence), { name: printable(name), full }, warnings.map(printable));
    },
  };
}

/** Healing is part of replication in gluon: it is always on. */
function alwaysOn(name: string): Prepared {
  const sentence = `volume heal: ${printable(name)}: success: healing is always on in gluon`;
  return {
    operation: `volume heal: ${printable(name)}`,
    async run({ client }) {
      await client.volumes(name);
      return done(sentence, generic('volHeal', sentence), { name: printable(name) });
    },
  };
}

function refused(name: string, reason: string): Prepared {
  return {
    operation: `volume heal: ${printable(name)}`,
    run: () => Promise.reject(new RefusedError(reason, 95)),
  };
}

const NO_DISABLE =
  'not supported by gluon: a brick that missed changes must get them before it may serve, so healing cannot be switched off';
const NO_SPLIT_BRAIN =
  'not supported by gluon: two sides of a partition never both acknowledge, so there is no split-brain to resolve';
const NO_STATISTICS = "not supported by gluon: use 'volume heal NAME info' or 'statistics heal-count'";

function statistics(words: Arguments, name: string): Prepared {
  if (words.empty) return refused(name, NO_STATISTICS);
  words.takeKeyword('a kind of statistics', ['heal-count'] as const);
  if (words.takeIf('replica')) {
    words.take('the brick');
    words.end();
    return refused(name, "not supported by gluon: leave out 'replica …', all bricks are shown");
  }
  words.end();
  return reporting(name, counts);
}

function information(words: Arguments, name: string): Prepared {
  if (words.empty) return reporting(name, listed);
  const view = words.takeKeyword('a kind of heal information', VIEWS);
  words.end();
  return reporting(name, view === 'summary' ? summary : splitBrain);
}

export const volumeHeal: Command = {
  words: ['volume', 'heal'],
  pattern: PATTERN,
  summary: 'start healing, or show what is still to be copied to which brick',
  prepare(rest) {
    const words = new Arguments(rest, USAGE);
    const name = words.take('the name of the volume');
    if (words.empty) return launching(name, false);
    const action = words.takeKeyword('something to do with heal', ACTIONS);
    if (action === 'statistics') return statistics(words, name);
    if (action === 'info') return information(words, name);
    if (action === 'split-brain') return refused(name, NO_SPLIT_BRAIN);
    if (action === 'granular-entry-heal') {
      const to = words.takeKeyword('a state', ['enable', 'disable'] as const);
      words.end();
      return to === 'enable' ? alwaysOn(name) : refused(name, NO_DISABLE);
    }
    words.end();
    if (action === 'full') return launching(name, true);
    return action === 'enable' ? alwaysOn(name) : refused(name, NO_DISABLE);
  },
};
