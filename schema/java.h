/* SPDX-License-Identifier: Apache-2.0 */
/* Java's options, for a cold one (languages.def) and the one that waits (worker/templates/launcher.c). */
#ifndef MILLRACE_SCHEMA_JAVA_H
#define MILLRACE_SCHEMA_JAVA_H

/* What every JVM is started with: sizes from the pod's limit instead of the machine's, one collector thread. */
#define JAVA_OPTIONS(before)                                                                                 \
    before "-XX:MaxRAM={memory}", before "-XX:MaxRAMPercentage=50", before "-XX:+UseSerialGC",               \
        before "-XX:-UsePerfData"

#define JARS "/usr/share/java/"
#define JAVA_LIBRARIES                                                                                       \
    JARS "commons-csv.jar:" JARS "commons-lang3.jar:" JARS "commons-math3.jar:" JARS                         \
         "commons-collections4.jar:" JARS "commons-compress.jar:" JARS "commons-text.jar:" JARS              \
         "commons-io.jar:" JARS "jackson-core.jar:" JARS "jackson-databind.jar:" JARS                        \
         "jackson-annotations.jar"

#endif
