/* SPDX-License-Identifier: Apache-2.0 */
/* Named steps of a program, where a test can come between. In a test build, by the environment:
   TEST_KILL_AT=name        the process ends there, as kill -9 does
   TEST_DELAY_MS=most       each step takes up to so long, so that what comes between two steps differs every time
   TEST_HOLD_AT=folder      where the folder has a file of the step's name, the first process that comes there makes it `name.held`
                            and stands still until that is gone
   In a release a step does nothing. */
#ifndef MILLRACE_BASE_POINT_H
#define MILLRACE_BASE_POINT_H

void test_point(const char *name);

#endif
