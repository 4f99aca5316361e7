import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { BrickError, initialiseBrick, openBrick, type BrickProblem } from '../../../src/brick/store/identity.js';
import { BRICK, disk, newDirectory, TestBrick, VOLUME } from './harness.js';

const identity = { volumeId: VOLUME, brickId: BRICK, bootId: 'boot' };

function problem(action: () => unknown): BrickProblem | 'none' {
  try {
    action();
  } catch (error) {
    if (error instanceof BrickError) return error.problem;
    throw error;
  }
  return 'none';
}

function withDirectory(test: (path: string) => void): void {
  const path = newDirectory();
  try {
    test(path);
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}

describe('identity of a brick', () => {
  it('only the brick that is expected is opened', () => {
    withDirectory((path) => {
      const open = (volume = VOLUME, brick = BRICK) => problem(() => openBrick(disk, path, volume, brick).close());
      assert.equal(
        problem(() => openBrick(disk, join(path, 'none'), VOLUME, BRICK)),
        'missing',
      );
      assert.equal(open(), 'empty');
      writeFileSync(join(path, 'file'), '');
      assert.equal(
        problem(() => openBrick(disk, join(path, 'file'), VOLUME, BRICK)),
        'not a directory',
      );
      assert.equal(
        problem(() => initialiseBrick(disk, path, identity)),
        'not empty',
      );
      rmSync(join(path, 'file'));
      mkdirSync(join(path, 'lost+found'));
      initialiseBrick(disk, path, identity);
      assert.equal(open(), 'none');
      assert.equal(open('c'.repeat(32)), 'other volume');
      assert.equal(open(VOLUME, 'c'.repeat(32)), 'other brick');
      initialiseBrick(disk, path, identity);
      assert.equal(
        problem(() => initialiseBrick(disk, path, { ...identity, volumeId: 'x' })),
        'other volume',
      );
      assert.equal(
        problem(() => initialiseBrick(disk, path, { ...identity, brickId: 'x' })),
        'other brick',
      );
      const meta = join(path, '.gluon', 'brick.json');
      const text = readFileSync(meta, 'utf8');
      writeFileSync(meta, text.replace('"formatVersion": 1', '"formatVersion": 2'));
      assert.equal(open(), 'format');
      writeFileSync(meta, text.slice(0, 20));
      assert.equal(open(), 'damaged');
      rmSync(meta);
      assert.equal(open(), 'damaged');
    });
  });

  it('other files may be there when they are said to be', () => {
    withDirectory((path) => {
      writeFileSync(join(path, 'file'), '');
      initialiseBrick(disk, path, identity, { force: true });
      const brick = openBrick(disk, path, VOLUME, BRICK);
      brick.close();
    });
  });

  it('a filesystem without trusted xattrs is refused', () => {
    assert.equal(
      problem(() => initialiseBrick(disk, '/proc/self', identity)),
      'no xattrs',
    );
  });

  it('two processes do not serve one brick', () => {
    const brick = new TestBrick();
    assert.equal(
      problem(() => openBrick(disk, brick.path, VOLUME, BRICK)),
      'in use',
    );
    brick.remove();
  });

  it('a directory that disappears or is replaced is noticed', () => {
    const brick = new TestBrick();
    const away = `${brick.path}-away`;
    assert.equal(brick.brick.checkPresence(), undefined);
    renameSync(brick.path, away);
    assert.match(brick.brick.checkPresence() ?? '', /gone/);
    mkdirSync(brick.path);
    assert.match(brick.brick.checkPresence() ?? '', /another directory/);
    rmSync(brick.path, { recursive: true });
    renameSync(away, brick.path);
    assert.equal(brick.brick.checkPresence(), undefined);
    renameSync(join(brick.path, '.gluon', 'brick.json'), join(brick.path, '.gluon', 'b'));
    assert.match(brick.brick.checkPresence() ?? '', /brick\.json is gone/);
    brick.remove();
  });
});

describe('meta and journal', () => {
  it('keep what they are given across a restart', () => {
    const brick = new TestBrick();
    const { journal } = brick.brick;
    const meta = { ...journal.readMeta(), checkpoint: 7, base: 3, sealedEpoch: 12, bootId: 'x', incomplete: true };
    journal.writeMeta(meta);
    journal.append(10, Buffer.from('one'));
    journal.append(9, Buffer.from('nine'));
    journal.append(10, Buffer.from('two'));
    assert.deepEqual(journal.generations(), [9, 10]);
    brick.reopen();
    assert.deepEqual(brick.brick.journal.readMeta(), meta);
    assert.equal(Buffer.from(brick.brick.journal.readGeneration(10)).toString(), 'onetwo');
    brick.brick.journal.append(10, Buffer.from('!'));
    assert.equal(Buffer.from(brick.brick.journal.readGeneration(10)).toString(), 'onetwo!');
    brick.brick.journal.dropGeneration(10);
    brick.brick.journal.dropGeneration(10);
    assert.deepEqual(brick.brick.journal.generations(), [9]);
    brick.remove();
  });
});
