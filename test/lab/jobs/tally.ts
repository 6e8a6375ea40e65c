/** A job's checks: each is printed as it is made, and the last line counts them. */
export class Tally {
	#passed = 0;
	#failed = 0;

	/** @param problems what is wrong with it; none when it is right */
	add(name: string, problems: readonly string[], details = ""): void {
		if (problems.length === 0) {
			this.#passed++;
			console.log(`ok    ${name}${details && `: ${details}`}`);
			return;
		}
		this.#failed++;
		console.log(`FAIL  ${name}${details && `: ${details}`}`);
		for (const problem of problems) console.log(`      ${problem}`);
	}

	/** Something that cannot be tried here. */
	skip(name: string, reason: string): void {
		console.log(`skip  ${name}: ${reason}`);
	}

	/** Takes over the checks of another job. @param lines what it has printed, without its count */
	include(lines: readonly string[]): void {
		for (const line of lines) {
			console.log(line);
			if (line.startsWith("ok ")) this.#passed++;
			else if (line.startsWith("FAIL ")) this.#failed++;
		}
	}

	/** Prints how many passed and failed. @returns the exit code */
	finish(): number {
		console.log(`${this.#passed} passed, ${this.#failed} failed`);
		return this.#failed === 0 ? 0 : 1;
	}
}
