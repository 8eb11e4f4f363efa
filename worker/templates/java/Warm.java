// SPDX-License-Identifier: Apache-2.0
// A warm Java: started as `java --source 17 FILE` with this as the file, in its pod ahead of demand, with its compiler loaded and
// used. It waits for its job, compiles the program into a jar (or finds the jar that an earlier run's was kept as), and hands it to
// enter.c, which runs it as java does. The class path is that of the libraries; the program's own classes come from .program, the
// jar, and the working directory; javac by itself makes a folder of that name. See worker/runner/mediator.h; the first two args are
// the source file and the class with main().

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TimeZone;
import java.util.zip.Deflater;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

public class Warm {
    static final String LIBRARY = "/proc/self/fd/6", JOB = "/proc/self/fd/7", STATUS = "/proc/self/fd/8";
    static final Path WORK = Path.of("").toAbsolutePath();
    static final int TOLD_MAX = 4096; // bytes that every pipe holds while nobody reads it

    /* Uses what programs use, so that javac and the parts of the runtime that it needs are loaded and partly compiled. */
    static final String SAMPLE = """
        import java.util.*;
        import java.util.function.*;
        import java.util.stream.*;
        public class WarmSample {
            record Point(int x, String name) implements Comparable<Point> {
                public int compareTo(Point other) { return Integer.compare(x, other.x); }
            }
            enum Kind { ONE, TWO }
            interface Shape { default double area() { return 0; } }
            static abstract class Base<T extends Comparable<T>> implements Shape {
                protected final List<T> items = new ArrayList<>();
                abstract T most() throws Exception;
            }
            static int digits(Object o) {
                return switch (o instanceof String s ? Kind.ONE : Kind.TWO) { case ONE -> 1; case TWO -> { int n = 0; yield n + 2; } };
            }
            public static String text(String[] args) {
                Base<Point> base = new Base<>() { Point most() { return Collections.max(items); } };
                for (int i = 0; i < 3; i++) base.items.add(new Point(i, "p" + i + (i % 2 == 0 ? 'e' : 'o')));
                Map<String, Integer> count = new TreeMap<>();
                for (var p : base.items) count.merge(p.name(), p.x(), Integer::sum);
                StringBuilder out = new StringBuilder();
                try {
                    out.append(base.most()).append(String.format("%d %.2f %s", digits(""), 1.5, Kind.valueOf("ONE")));
                    if (args.length > 99) throw new IllegalStateException(args[0]);
                } catch (Exception e) {
                    out.append(e.getMessage());
                }
                Function<Integer, Integer> twice = x -> 2 * x;
                out.append(IntStream.range(0, 5).mapToObj(i -> "" + twice.apply(i)).collect(Collectors.joining(",")));
                long[] squares = new long[4];
                for (int i = 0; i < squares.length; i++) squares[i] = (long) i * i;
                return out.append(count).append(Arrays.toString(squares)).toString();
            }
        }
        """;

    /* enter.c. Each text of the environment ends with NUL. */
    static native void environment(byte[] texts);

    /* Runs the program in a thread that is as java's first; ours ends, and the process when all of the program's have. */
    static native void enter(Class<?> program, String[] args);

    static native void leaveWith(Runnable hook);

    static class Leaver implements Runnable {
        public native void run();
    }

    static ClassLoader loader;

    /* What enter.c calls first in the program's thread. */
    static void begin() {
        Thread.currentThread().setContextClassLoader(loader);
    }

    final JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    final StandardJavaFileManager files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
    final String libraries = System.getProperty("java.class.path");

    void lookIn(Path folder, Path classes) throws IOException {
        List<Path> path = new ArrayList<>(List.of(folder));
        for (String jar : libraries.split(":")) path.add(Path.of(jar));
        files.setLocationFromPaths(StandardLocation.CLASS_PATH, path);
        files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(classes));
    }

    /* Everything that is in `folder`, which is gone then. */
    static void pack(Path folder, Path jar) throws IOException {
        try (var out = new ZipOutputStream(Files.newOutputStream(jar)); var all = Files.walk(folder)) {
            out.setLevel(Deflater.BEST_SPEED);
            for (Path path : all.sorted((a, b) -> b.compareTo(a)).toList()) {
                if (!Files.isDirectory(path)) {
                    out.putNextEntry(new ZipEntry(folder.relativize(path).toString()));
                    Files.copy(path, out);
                }
                Files.delete(path);
            }
        }
    }

    boolean compile(Path folder, String source, Path jar, StringWriter told) throws IOException {
        Path classes = Files.createTempDirectory("classes");
        lookIn(folder, classes);
        var units = files.getJavaFileObjects(Path.of(source));
        boolean good = compiler.getTask(new PrintWriter(told), files, null, List.of(), null, units).call();
        if (good) pack(classes, jar);
        return good;
    }

    void warmUp() throws Exception {
        Path folder = Files.createTempDirectory("warm"), source = folder.resolve("WarmSample.java"), jar = folder.resolve(".program");
        Files.writeString(source, SAMPLE);
        var told = new StringWriter();
        if (!compile(folder, source.toString(), jar, told)) throw new IllegalStateException(told.toString());
        try (var loader = new URLClassLoader(new URL[] {jar.toUri().toURL()})) {
            loader.loadClass("WarmSample").getMethod("text", String[].class).invoke(null, (Object) new String[0]);
        }
        for (Path path : List.of(source, jar, folder)) Files.delete(path);
        System.gc();
    }

    static void say(char status) throws IOException {
        try (var out = new FileOutputStream(STATUS)) {
            out.write(status);
        }
    }

    /* Null: the job ends. */
    static byte[] text(InputStream job) throws IOException {
        var bytes = new ByteArrayOutputStream();
        int c;
        while ((c = job.read()) > 0) bytes.write(c);
        return c < 0 ? null : bytes.toByteArray();
    }

    /* The args, whose number is `count`; behind them is the environment, and an empty text. */
    static List<String> take(int count, InputStream job) throws IOException {
        List<String> args = new ArrayList<>();
        for (int i = 0; i < count; i++) args.add(new String(text(job), StandardCharsets.UTF_8));
        var variables = new ByteArrayOutputStream();
        for (byte[] one = text(job); one != null && one.length > 0; one = text(job)) {
            variables.write(one);
            variables.write(0);
        }
        environment(variables.toByteArray());
        return args;
    }

    /* As java's own launcher, which has the words for what is wrong with a main(), and ends the process then. */
    static Class<?> mainClass(String name) throws Exception {
        Class<?> helper = Class.forName("sun.launcher.LauncherHelper");
        Class<?> program;
        try {
            program = Class.forName(name, false, loader);
        } catch (ClassNotFoundException | NoClassDefFoundError e) {
            System.err.println("Error: Could not find or load main class " + name + "\nCaused by: " + e);
            System.exit(1);
            return null;
        }
        var validate = helper.getDeclaredMethod("validateMainClass", Class.class);
        validate.setAccessible(true);
        try {
            validate.invoke(null, program);
        } catch (InvocationTargetException e) {
            System.err.println("Error: Unable to initialize main class " + name + "\nCaused by: " + e.getCause());
            System.exit(1);
        }
        return program;
    }

    /* The end of the job says that PID 1 has the jar: what is kept for later runs was there before the program could change it. */
    void compileFor(InputStream job, String source, Path jar) throws IOException {
        var told = new StringWriter();
        if (!compile(WORK, source, jar, told)) {
            say('C');
            System.err.print(told);
            System.exit(1);
        }
        boolean kept = told.toString().getBytes(StandardCharsets.UTF_8).length <= TOLD_MAX;
        if (!kept) say('R');
        System.err.print(told);
        if (kept) say('K');
        while (kept && job.read() >= 0) { }
    }

    void run(List<String> texts, InputStream job) throws Exception {
        String source = texts.get(0), name = texts.get(1);
        Path jar = WORK.resolve(".program");
        if (!source.isEmpty()) compileFor(job, source, jar);
        job.close();
        System.setProperty("java.class.path", String.join(":", jar.toString(), WORK.toString(), libraries));
        System.setProperty("sun.java.command", String.join(" ", texts.subList(1, texts.size())));
        System.clearProperty("user.timezone");
        TimeZone.setDefault(null); // TZ may be another now
        loader = new URLClassLoader(new URL[] {jar.toUri().toURL(), WORK.toUri().toURL()});
        enter(mainClass(name), texts.subList(2, texts.size()).toArray(new String[0]));
    }

    public static void main(String[] none) throws Exception {
        System.load(LIBRARY);
        var warm = new Warm();
        warm.warmUp();
        leaveWith(new Leaver());
        say('r');
        var job = new BufferedInputStream(new FileInputStream(JOB));
        byte[] count = text(job);
        if (count != null) warm.run(take(Integer.parseInt(new String(count, StandardCharsets.UTF_8)), job), job);
    }
}
